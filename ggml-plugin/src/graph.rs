//! Which nodes of a graph are ours, and for the time of its computation: the nodes as custom ones. Knows no threads.

use crate::experts::{Groups, Ids};
use crate::host::Host;
use crate::layout::{CustomFunction, Graph, Tensor, custom_params, first_params, product_hint, set_first_params};
use crate::settings::Settings;
use gguffuse::blocks::TensorType;
use gguffuse::matmul::{Context, Precision, RowActivations};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// The numbers of the operations that matter, which versions count differently.
pub struct Operations {
    pub product: u32,
    pub expert_product: u32,
    pub custom: u32,
    /// These compute nothing.
    views: [u32; 5],
}

impl Operations {
    pub fn of(host: &Host) -> Option<Operations> {
        let [none, reshape, view, permute, transpose, product, expert_product, custom] =
            host.ops(["NONE", "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE", "MUL_MAT", "MUL_MAT_ID", "CUSTOM"])?;
        Some(Operations { product, expert_product, custom, views: [none, reshape, view, permute, transpose] })
    }
}

/// One context per precision: they have no threads, the engine's call them.
pub struct Contexts([Context; 3]);

impl Contexts {
    pub fn new() -> gguffuse::Result<Contexts> {
        let new =
            |precision| Context::new(&gguffuse::matmul::ContextOptions { threads: 1, precision, ..Default::default() });
        let [exact, high, fast] = Precision::ALL;
        Ok(Contexts([new(exact)?, new(high)?, new(fast)?]))
    }

    pub fn get(&self, precision: Precision) -> &Context {
        &self.0[precision as usize]
    }
}

/// The precision that is at least ggml's for weights of this type. ggml rounds activations to 8 bits as well: for types of
/// 256 columns with a scale per 256 of them, as FAST does; for the others with one per 32, which is finer.
fn precision_for(tensor_type: TensorType) -> Precision {
    let cheapest = if tensor_type.block_elements() == 256 { Precision::Fast } else { Precision::High };
    Settings::get().precision.unwrap_or(cheapest)
}

/// Whether the engine's own decode is faster than gguffuse's, at the precision that `precision_for` takes by itself. Measured
/// against ggml 0.25.1 (scripts/measure_plugin.py; AMD EPYC (Zen 5), 2026-11-22): 16-bit activations cost where codes are
/// looked up in a table and where ggml has a repacked format, and a row's last columns, short of 256, cost as much as 256.
fn engine_decodes_faster(tensor_type: TensorType, k: usize, m: usize) -> bool {
    /// From here on weights are unpacked for several activation rows at once.
    const MANY: usize = 4;
    let slow = matches!(tensor_type, TensorType::Q4_0 | TensorType::IQ4_NL) || !k.is_multiple_of(256);
    m < MANY && slow && Settings::get().precision.is_none()
}

/// Weights of one or several products: `[ne3][ne2][n][k]`; for experts, `[1][experts][n][k]`.
pub struct Matrices {
    pub tensor_type: TensorType,
    pub n: usize,
    pub k: usize,
    pub row_bytes: usize,
    pub data: *const u8,
    pub ne: [usize; 2],
    pub nb: [usize; 2],
}

/// f32 rows in up to three dimensions: where they begin, how many, and the bytes between them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RowsAt {
    pub data: *mut u8,
    pub ne: [usize; 3],
    pub nb: [usize; 3],
}

impl RowsAt {
    pub fn count(&self) -> usize {
        self.ne.iter().product()
    }

    pub fn row(&self, indices: [usize; 3]) -> *mut f32 {
        let offset: usize = indices.iter().zip(self.nb).map(|(index, bytes)| index * bytes).sum();
        self.data.wrapping_add(offset).cast()
    }

    /// Row `index`, counted through all dimensions.
    pub fn nth(&self, index: usize) -> *mut f32 {
        let [ne1, ne2, _] = self.ne;
        self.row([index % ne1, index / ne1 % ne2, index / ne1 / ne2])
    }

    /// Its bytes, with rows of `columns`.
    fn range(&self, columns: usize) -> (usize, usize) {
        let last = self.row(self.ne.map(|count| count - 1)).addr() + columns * size_of::<f32>();
        (self.data.addr(), last)
    }
}

/// What a node of ours is to do, and how far its threads are.
pub struct Job {
    node: *mut Tensor,
    op: u32,
    params: [u32; 6],
    pub context: *const Context,
    pub w: Matrices,
    pub x: RowsAt,
    pub y: RowsAt,
    /// Which packing it reads; the pointer is there when all are.
    slot: usize,
    pub activations: *const RowActivations,
    /// Whether it makes that packing, or finds it made by an earlier node.
    pub packs: bool,
    /// Of experts: who chose them, and who goes where.
    pub ids: Option<Ids>,
    pub groups: *const Groups,
    pub next_row: AtomicUsize,
    pub packed: AtomicUsize,
    pub next_tile: AtomicUsize,
    pub sorting: AtomicBool,
    pub grouped: AtomicUsize,
    pub failed: AtomicBool,
}

/// A packing: made by one node, read by others with the same activations.
struct Slot {
    activations: RowActivations,
    groups: Groups,
    m: usize,
    k: usize,
    precision: Precision,
    /// What will be in it: rows, and the ids of experts.
    holds: Option<(RowsAt, Option<Ids>)>,
}

/// All that a backend's computations need, kept from one to the next.
#[derive(Default)]
pub struct Plan {
    jobs: Vec<Job>,
    slots: Vec<Slot>,
    used_slots: usize,
}

// SAFETY: used by the threads of one computation at a time, behind a lock.
unsafe impl Send for Plan {}

impl Plan {
    /// Finds our nodes in `graph`, and makes them custom ones which call `function` with a [`Job`]. How many there are.
    ///
    /// # Safety
    /// `graph` is one of the engine's, about to be computed on memory that the CPU reaches. `restore` is called before
    /// anyone else sees it.
    pub unsafe fn prepare(
        &mut self,
        host: &Host,
        operations: &Operations,
        contexts: &Contexts,
        graph: *mut Graph,
        function: CustomFunction,
    ) -> usize {
        self.jobs.clear();
        self.used_slots = 0;
        // SAFETY: the engine's graph: so many nodes, each a tensor whose sources are tensors.
        unsafe {
            let count = usize::try_from((host.ggml_graph_n_nodes)(graph)).unwrap_or(0);
            let nodes = (host.ggml_graph_nodes)(graph);
            for node in (0..count).map(|index| *nodes.add(index)) {
                let op = (*node).op;
                if operations.views.contains(&op) {
                    continue;
                }
                if op == operations.product || op == operations.expert_product {
                    self.consider(host, contexts, node, op == operations.expert_product);
                }
                self.forget_what_is_overwritten(&*node);
            }
        }
        if self.make_room(contexts).is_err() {
            // The engine does it all, then.
            self.jobs.clear();
        }
        for job in &mut self.jobs {
            let slot = &self.slots[job.slot];
            job.activations = &slot.activations;
            job.groups = &slot.groups;
        }
        for job in &self.jobs {
            // SAFETY: a node of the graph; the job stays where it is until `restore`.
            unsafe {
                set_first_params(&mut *job.node, &custom_params(function, (&raw const *job).cast_mut().cast()));
                (*job.node).op = operations.custom;
            }
        }
        self.jobs.len()
    }

    /// How many of the nodes found their activations packed.
    pub fn shared(&self) -> usize {
        self.jobs.iter().filter(|job| !job.packs).count()
    }

    /// Makes the nodes what they were. Whether all of their jobs went well.
    pub fn restore(&mut self) -> bool {
        let mut well = true;
        for job in self.jobs.drain(..) {
            // SAFETY: a node of the graph that `prepare` was given, which is there until it has been computed.
            unsafe {
                (*job.node).op = job.op;
                set_first_params(&mut *job.node, &job.params);
            }
            well &= !job.failed.into_inner();
        }
        well
    }

    /// # Safety
    /// A node of the graph.
    unsafe fn consider(&mut self, host: &Host, contexts: &Contexts, node: *mut Tensor, experts: bool) {
        // SAFETY: the caller's promise; sources are tensors of the graph's.
        let (y, a, b) = unsafe { (&*node, (*node).src[0].as_ref(), (*node).src[1].as_ref()) };
        let (Some(a), Some(b)) = (a, b) else { return };
        let Some(w) = matrices(host, a) else { return };
        let (Some(x), Some(result)) = (rows_of(b), rows_of(y)) else { return };
        let columns = b.ne[0] as usize == w.k && y.ne[0] as usize == w.n;
        // Rows of y do not overlap, nor does y overlap x.
        let apart = result.nb[0] >= w.n * size_of::<f32>() && !overlap(x.range(w.k), result.range(w.n));
        // SAFETY: as above.
        let ids = match unsafe { y.src[2].as_ref() } {
            Some(ids) if experts => Ids::of(&w, &x, &result, ids),
            _ => None,
        };
        let rows = if experts { ids.is_some() } else { product_fits(&w, &x, &result) };
        let tokens = if experts { x.ne[1] } else { x.ne[0] };
        if !columns || !apart || !rows || product_hint(y) != 0 || engine_decodes_faster(w.tensor_type, w.k, tokens) {
            return;
        }
        let precision = precision_for(w.tensor_type);
        let m = if experts { result.count() } else { x.count() };
        let (slot, packs) = self.slot_for(x, ids, m, w.k, precision);
        if let (Some(slot), Some(ids)) = (self.slots.get_mut(slot), &ids) {
            slot.groups.prepare(ids);
        }
        self.jobs.push(Job {
            node,
            op: y.op,
            params: first_params(y),
            context: contexts.get(precision),
            w,
            x,
            y: result,
            slot,
            activations: null(),
            packs,
            ids,
            groups: null(),
            next_row: AtomicUsize::new(0),
            packed: AtomicUsize::new(0),
            next_tile: AtomicUsize::new(0),
            sorting: AtomicBool::new(false),
            grouped: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        });
    }

    /// The packing for these rows, and whether it has to be made.
    fn slot_for(&mut self, x: RowsAt, ids: Option<Ids>, m: usize, k: usize, precision: Precision) -> (usize, bool) {
        let used = &mut self.slots[..self.used_slots];
        let same = |slot: &Slot| (slot.m, slot.k, slot.precision) == (m, k, precision);
        let holds = Some((x, ids));
        if let Some(index) = used.iter().position(|slot| same(slot) && slot.holds == holds) {
            return (index, false);
        }
        let index = used.iter().position(same).unwrap_or(self.used_slots);
        if index == self.slots.len() {
            let (activations, groups) = (RowActivations::new(), Groups::default());
            self.slots.push(Slot { activations, groups, m, k, precision, holds });
        }
        let slot = &mut self.slots[index];
        (slot.m, slot.k, slot.precision, slot.holds) = (m, k, precision, holds);
        self.used_slots = self.used_slots.max(index + 1);
        (index, true)
    }

    /// A packing serves later nodes only as long as what was packed is still there.
    fn forget_what_is_overwritten(&mut self, node: &Tensor) {
        let begin = node.data.addr();
        let end = node.ne.iter().zip(node.nb).fold(begin, |end, (ne, nb)| end.saturating_add(*ne as usize * nb));
        for slot in &mut self.slots[..self.used_slots] {
            if let Some((x, _)) = &slot.holds
                && overlap(x.range(slot.k), (begin, end))
            {
                slot.holds = None;
            }
        }
    }

    fn make_room(&mut self, contexts: &Contexts) -> gguffuse::Result<()> {
        for slot in &mut self.slots[..self.used_slots] {
            contexts.get(slot.precision).prepare_rows(&mut slot.activations, slot.m, slot.k)?;
        }
        Ok(())
    }
}

fn overlap(a: (usize, usize), b: (usize, usize)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

/// The weights in `a`, if they are quantised, in host memory, and as they lie in a file.
fn matrices(host: &Host, a: &Tensor) -> Option<Matrices> {
    let tensor_type = TensorType::from_id(a.tensor_type).filter(|t| t.can_matmul() && t.block_elements() > 1)?;
    let [k, n, ne2, ne3] = a.ne.map(|ne| usize::try_from(ne).unwrap_or(0));
    let row_bytes = tensor_type.row_size(k as u64).ok()? as usize;
    // SAFETY: where it is a view, the tensor that it views.
    let base = unsafe { a.view_src.as_ref() }.unwrap_or(a);
    // SAFETY: a buffer of the engine's. Without one, a tensor lies in its context.
    let in_host_memory = base.buffer.is_null() || unsafe { (host.ggml_backend_buffer_is_host)(base.buffer) };
    // What has `extra` is not laid out as in a file.
    let plain = a.extra.is_null() && base.extra.is_null() && in_host_memory && !a.data.is_null();
    let rows = a.nb[0] == tensor_type.block_bytes() && a.nb[1] == row_bytes;
    let counts = [k, n, ne2, ne3].iter().all(|count| *count > 0);
    (plain && rows && counts).then_some(Matrices {
        tensor_type,
        n,
        k,
        row_bytes,
        data: a.data,
        ne: [ne2, ne3],
        nb: [a.nb[2], a.nb[3]],
    })
}

/// The rows of an f32 tensor; `None` where it is none, or empty, or not aligned.
fn rows_of(tensor: &Tensor) -> Option<RowsAt> {
    let ne = [1, 2, 3].map(|dim| usize::try_from(tensor.ne[dim]).unwrap_or(0));
    let nb = [tensor.nb[1], tensor.nb[2], tensor.nb[3]];
    let f32s = tensor.tensor_type == TensorType::F32.id() && tensor.nb[0] == size_of::<f32>();
    let aligned = tensor.data.addr().is_multiple_of(4) && nb.iter().all(|bytes| bytes.is_multiple_of(4));
    let there = !tensor.data.is_null() && tensor.ne[0] > 0 && ne.iter().all(|count| *count > 0);
    (f32s && aligned && there).then_some(RowsAt { data: tensor.data, ne, nb })
}

/// `y[i3][i2][m][n] = x[i3][i2][m][k] * w[i3 / r3][i2 / r2][n][k]`.
fn product_fits(w: &Matrices, x: &RowsAt, y: &RowsAt) -> bool {
    x.ne == y.ne && x.ne[1].is_multiple_of(w.ne[0]) && x.ne[2].is_multiple_of(w.ne[1])
}
