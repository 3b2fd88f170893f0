//! Everybody who multiplies by one matrix: the weights in each one's own form, and from them the contestants of a race.

use crate::ours::{self, Contexts};
use crate::records::Who;
use crate::roofs::{Crew, Reader, Unit, units};
use crate::tiles::GEMM;
use crate::timing::Contestant;
use crate::weights::Matrix;
use crate::{candle, floats, ggml};
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, Precision};
use std::rc::Rc;

/// Who takes part.
#[derive(Clone, Debug)]
pub struct Field {
    /// For ours and for ggml.
    pub levels: Vec<Level>,
    pub precisions: Vec<Precision>,
    pub threads: Vec<usize>,
    pub ggml: bool,
    pub candle: bool,
    pub floats: bool,
    pub read: bool,
    pub units: bool,
}

/// A contestant with what its record will say.
pub struct Entry<'a> {
    pub who: Who,
    pub level: &'static str,
    pub kind: String,
    pub threads: usize,
    pub error: Option<f64>,
    pub contestant: Box<dyn Contestant + 'a>,
}

pub struct Party<'a> {
    pub matrix: &'a Matrix,
    field: Field,
    ggml: Vec<(&'static ggml::Kernels, ggml::Uploaded<'a>)>,
    candle: Option<candle::Uploaded>,
    floats: Option<Vec<f32>>,
}

impl<'a> Party<'a> {
    pub fn new(kernels: &'static [ggml::Kernels], matrix: &'a Matrix, field: &Field) -> Party<'a> {
        let kernels = if field.ggml { kernels } else { &[] };
        let ggml = kernels
            .iter()
            .filter(|kernels| field.levels.contains(&kernels.level))
            .flat_map(|kernels| kernels.upload(matrix).into_iter().map(move |uploaded| (kernels, uploaded)))
            .collect();
        let candle = if field.candle { candle::Uploaded::new(matrix) } else { None };
        let floats = field.floats.then(|| matrix.dequantized());
        Party { matrix, field: field.clone(), ggml, candle, floats }
    }

    /// The contestants for activations `x`; each has shown that its product is right. `readers`: the best by threads.
    pub fn entries<'b>(&'b self, contexts: &mut Contexts, readers: &[(usize, Reader)], x: &'b [f32]) -> Vec<Entry<'b>> {
        let mut entries = Vec::new();
        let most = *self.field.threads.iter().max().expect("at least one number of threads");
        for &threads in &self.field.threads {
            for &level in &self.field.levels {
                for &precision in &self.field.precisions {
                    entries.push(self.ours(contexts.get(level, precision, threads), x, threads));
                }
            }
            for (kernels, uploaded) in &self.ggml {
                entries.push(self.ggml(kernels, uploaded, x, threads));
            }
            if let Some(weights) = &self.candle
                && threads == most
            {
                entries.push(self.candle(weights, x, threads));
            }
            if let Some(w) = &self.floats {
                entries.push(self.floats(w, x, threads));
            }
            if self.field.read {
                let reader = readers.iter().find(|(of, _)| *of == threads).expect("the roofs come first").1;
                let data = self.matrix.bytes.as_slice();
                let contestant = Box::new(Reading { reader, crew: Crew::new(threads), data });
                entries.push(Entry {
                    who: Who::Read,
                    level: "",
                    kind: String::new(),
                    threads,
                    error: None,
                    contestant,
                });
            }
            if self.field.units {
                let macs = (x.len() * self.matrix.n) as f64;
                entries.extend(units().into_iter().map(|unit| {
                    let calls = (macs / (unit.macs * threads as f64)).round().max(1.0) as usize;
                    let kind = unit.name.to_string();
                    let contestant = Box::new(Multiplying { unit, crew: Crew::new(threads), calls });
                    Entry { who: Who::Unit, level: "", kind, threads, error: None, contestant }
                }));
            }
        }
        entries.retain(is_right);
        entries
    }

    fn y(&self, x: &[f32]) -> Vec<f32> {
        vec![0.0; x.len() / self.matrix.k * self.matrix.n]
    }

    fn ours<'b>(&'b self, context: Rc<Context>, x: &'b [f32], threads: usize) -> Entry<'b> {
        let (level, precision) = (context.isa().name(), context.precision());
        let mut ours = Ours { context, matrix: self.matrix, x, y: self.y(x) };
        ours.call();
        let error = Some(self.matrix.error(x, &ours.y));
        let kind = format!("{precision:?}").to_uppercase();
        Entry { who: Who::Ours, level, kind, threads, error, contestant: Box::new(ours) }
    }

    fn ggml<'b>(
        &self,
        kernels: &'static ggml::Kernels,
        uploaded: &'b ggml::Uploaded<'_>,
        x: &[f32],
        threads: usize,
    ) -> Entry<'b> {
        let product = ggml::Product::new(uploaded, x, threads);
        product.compute();
        product.rest();
        let error = Some(self.matrix.error(x, &product.result()));
        let (level, kind) = (kernels.level.name(), format!("{} {}", kernels.version, uploaded.kind));
        Entry { who: Who::Ggml, level, kind, threads, error, contestant: Box::new(product) }
    }

    fn candle<'b>(&self, weights: &'b candle::Uploaded, x: &[f32], threads: usize) -> Entry<'b> {
        let product = candle::Product::new(weights, x, self.matrix.k);
        let error = Some(self.matrix.error(x, &product.result()));
        let level = candle::level().name();
        Entry { who: Who::Candle, level, kind: String::new(), threads, error, contestant: Box::new(product) }
    }

    fn floats<'b>(&'b self, w: &'b [f32], x: &'b [f32], threads: usize) -> Entry<'b> {
        let mut product = Floats { w, matrix: self.matrix, x, y: self.y(x), threads };
        product.call();
        let error = Some(self.matrix.error(x, &product.y));
        Entry { who: Who::Floats, level: "", kind: String::new(), threads, error, contestant: Box::new(product) }
    }
}

/// Whether the product is right: a wrong one would make its time worthless. A peer is left out then, ours ends the run. The
/// bounds are what each one's arithmetic promises; ggml's own tests allow 5e-4 as well.
fn is_right(entry: &Entry<'_>) -> bool {
    let Entry { who, level, kind, threads, error, .. } = entry;
    let allowed = match (who, kind.as_str()) {
        (Who::Floats, _) | (Who::Ours, "EXACT") => 1e-11,
        (Who::Ours, "HIGH") => 1e-8,
        _ => 5e-4,
    };
    let error = error.unwrap_or(0.0);
    let right = error <= allowed;
    if !right {
        let name = who.name();
        eprintln!("WRONG: {name} {level} {kind} {threads} threads: NMSE {error:e}, allowed {allowed:e}");
    }
    assert!(right || *who != Who::Ours, "gguffuse's product is wrong");
    right
}

struct Ours<'a> {
    context: Rc<Context>,
    matrix: &'a Matrix,
    x: &'a [f32],
    y: Vec<f32>,
}

impl Contestant for Ours<'_> {
    fn call(&mut self) {
        ours::multiply(&self.context, self.matrix, self.x, &mut self.y);
    }
}

impl Contestant for ggml::Product<'_> {
    fn call(&mut self) {
        self.compute();
    }

    fn rest(&mut self) {
        ggml::Product::rest(self);
    }
}

impl Contestant for candle::Product<'_> {
    fn call(&mut self) {
        self.compute();
    }
}

struct Floats<'a> {
    w: &'a [f32],
    matrix: &'a Matrix,
    x: &'a [f32],
    y: Vec<f32>,
    threads: usize,
}

impl Contestant for Floats<'_> {
    fn call(&mut self) {
        let Floats { w, matrix, x, y, threads } = self;
        GEMM.with(|tiles| tiles.during(|| floats::multiply(w, x, y, matrix.n, matrix.k, *threads)));
    }
}

/// Reads the weights and does nothing with them.
pub struct Reading<'a> {
    pub reader: Reader,
    pub crew: Crew,
    pub data: &'a [u8],
}

impl Contestant for Reading<'_> {
    fn call(&mut self) {
        let (reader, data, shares) = (self.reader, self.data, self.crew.len());
        self.crew.run(&|number| reader.read(data, number, shares));
    }
}

/// Multiplies numbers that stay in registers.
pub struct Multiplying {
    pub unit: Unit,
    pub crew: Crew,
    /// Of the unit, per thread.
    pub calls: usize,
}

impl Contestant for Multiplying {
    fn call(&mut self) {
        let (unit, calls) = (&self.unit, self.calls);
        self.crew.run(&|_| (0..calls).for_each(|_| unit.run()));
    }
}
