//! The functions that replace the engine's, and the engines they belong to.

use crate::extra;
use crate::graph::{Contexts, Job, Operations, Plan};
use crate::host::Host;
use crate::layout::*;
use crate::statistics::{GRAPHS, PRODUCTS, SHARED};
use crate::work;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A ggml with its CPU device: a process may hold several. Lives for ever, as the engine may call at any time.
pub struct Engine {
    pub host: Host,
    pub operations: Operations,
    pub contexts: Contexts,
    pub device: *mut Device,
    pub registration: *mut Registration,
    pub init_backend: InitBackend,
    pub get_proc_address: GetProcAddress,
    pub supports_op: SupportsOp,
    /// The list that the engine gets instead of its own, once it was asked for.
    pub extra: extra::Filtered,
    /// Set when something failed that should not: from then on the engine computes alone.
    pub off: AtomicBool,
    /// How often the replaced functions were called: whether they are what they are thought to be.
    pub calls: Calls,
}

/// Calls of the functions below.
#[derive(Default)]
pub struct Calls {
    pub init_backend: AtomicUsize,
    pub get_proc_address: AtomicUsize,
    pub supports_op: AtomicUsize,
    pub graph_compute: AtomicUsize,
    pub free: AtomicUsize,
}

// SAFETY: the pointers are the engine's, whose objects exist as long as it is loaded; they are only handed back to it.
unsafe impl Send for Engine {}
// SAFETY: as above.
unsafe impl Sync for Engine {}

/// A CPU backend whose functions were replaced.
struct Hooked {
    backend: usize,
    engine: &'static Engine,
    graph_compute: GraphCompute,
    free: FreeBackend,
    plan: Mutex<Plan>,
}

static ENGINES: RwLock<Vec<&'static Engine>> = RwLock::new(Vec::new());
static BACKENDS: RwLock<Vec<Arc<Hooked>>> = RwLock::new(Vec::new());

/// The engine of a device, if it is hooked.
pub fn engine_of(device: *mut Device) -> Option<&'static Engine> {
    let engines = ENGINES.read().unwrap_or_else(PoisonError::into_inner);
    engines.iter().copied().find(|engine| engine.device == device)
}

/// Adds an engine, in the place of one that was unloaded, if there was one at the same address.
pub fn add(engine: &'static Engine) {
    let mut engines = ENGINES.write().unwrap_or_else(PoisonError::into_inner);
    engines.retain(|other| other.device != engine.device && other.registration != engine.registration);
    engines.push(engine);
}

fn hooked(backend: *mut Backend) -> Option<Arc<Hooked>> {
    let backends = BACKENDS.read().unwrap_or_else(PoisonError::into_inner);
    backends.iter().find(|hooked| hooked.backend == backend.addr()).cloned()
}

/// In the place of the CPU device's `init_backend`.
///
/// # Safety
/// Called by the engine.
pub unsafe extern "C" fn init_backend(device: *mut Device, params: *const c_char) -> *mut Backend {
    let engine = catch_unwind(|| engine_of(device)).ok().flatten();
    let Some(engine) = engine else { return std::ptr::null_mut() };
    // SAFETY: the engine's function with the engine's arguments.
    let backend = unsafe { (engine.init_backend)(device, params) };
    if !backend.is_null() {
        // A failure leaves the backend as it is.
        // SAFETY: a backend that the device has made.
        let _ = catch_unwind(AssertUnwindSafe(|| unsafe { hook(engine, backend) }));
    }
    engine.calls.init_backend.fetch_add(1, Ordering::Relaxed);
    backend
}

/// Replaces the functions of a backend, if it looks as expected.
///
/// # Safety
/// The backend was just made by the engine's CPU device.
unsafe fn hook(engine: &'static Engine, backend: *mut Backend) {
    // SAFETY: the caller's promise; function pointers where `graph_compute_of` and `FREE` say.
    unsafe {
        let Some(at) = graph_compute_of(backend, engine.device) else { return };
        let words = backend.cast::<*const c_void>();
        let hooked = Hooked {
            backend: backend.addr(),
            engine,
            graph_compute: std::mem::transmute::<*const c_void, GraphCompute>(words.add(at).read()),
            free: std::mem::transmute::<*const c_void, FreeBackend>(words.add(FREE).read()),
            plan: Mutex::default(),
        };
        let mut backends = BACKENDS.write().unwrap_or_else(PoisonError::into_inner);
        backends.retain(|other| other.backend != hooked.backend);
        backends.push(Arc::new(hooked));
        words.add(at).write(graph_compute as GraphCompute as *const c_void);
        words.add(FREE).write(free as FreeBackend as *const c_void);
    }
}

/// In the place of a backend's `free`.
unsafe extern "C" fn free(backend: *mut Backend) {
    let original = catch_unwind(|| {
        let found = hooked(backend)?;
        let mut backends = BACKENDS.write().unwrap_or_else(PoisonError::into_inner);
        backends.retain(|other| other.backend != backend.addr());
        found.engine.calls.free.fetch_add(1, Ordering::Relaxed);
        Some(found.free)
    });
    if let Ok(Some(free)) = original {
        // SAFETY: the engine's function with the engine's argument.
        unsafe { free(backend) };
    }
}

/// In the place of a backend's `graph_compute`.
unsafe extern "C" fn graph_compute(backend: *mut Backend, graph: *mut Graph) -> c_int {
    let Ok(Some(hooked)) = catch_unwind(|| hooked(backend)) else { return STATUS_FAILED };
    let engine = hooked.engine;
    engine.calls.graph_compute.fetch_add(1, Ordering::Relaxed);
    // One computation at a time, as the engine has it; if not, the other is the engine's own.
    let plan = if engine.off.load(Ordering::Relaxed) { None } else { hooked.plan.try_lock().ok() };
    let Some(mut plan) = plan else {
        // SAFETY: the engine's function with the engine's arguments.
        return unsafe { (hooked.graph_compute)(backend, graph) };
    };
    let Engine { host, operations, contexts, .. } = engine;
    // SAFETY: a graph that is about to be computed, restored below, whatever happens.
    let prepared =
        catch_unwind(AssertUnwindSafe(|| unsafe { plan.prepare(host, operations, contexts, graph, compute) }));
    if prepared.is_err() {
        plan.restore();
    }
    // SAFETY: as above.
    let status = unsafe { (hooked.graph_compute)(backend, graph) };
    let (shared, well) = (plan.shared(), plan.restore());
    GRAPHS.fetch_add(1, Ordering::Relaxed);
    PRODUCTS.fetch_add(prepared.unwrap_or(0) as u64, Ordering::Relaxed);
    SHARED.fetch_add(shared as u64, Ordering::Relaxed);
    if well {
        return status;
    }
    engine.off.store(true, Ordering::Relaxed);
    engine.host.say(
        crate::host::Importance::Warning,
        "a product failed: this computation is lost, and the engine is on its own from now on",
    );
    STATUS_FAILED
}

/// What a custom node calls, in each of the engine's threads.
extern "C" fn compute(_: *mut Tensor, _: c_int, threads: c_int, job: *mut c_void) {
    // SAFETY: a job that `Plan::prepare` has put into the node, and that lives until the graph has been computed.
    let job = unsafe { &*job.cast::<Job>() };
    work::run(job, usize::try_from(threads).unwrap_or(1));
}

/// In the place of the CPU device's `supports_op`.
///
/// # Safety
/// Called by the engine.
pub unsafe extern "C" fn supports_op(device: *mut Device, op: *const Tensor) -> bool {
    let engine = catch_unwind(|| engine_of(device)).ok().flatten();
    let Some(engine) = engine else { return false };
    engine.calls.supports_op.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a tensor of the engine's.
    let refuses = || unsafe { op.as_ref().is_some_and(|op| extra::refuses(engine, op)) };
    let refused = !engine.off.load(Ordering::Relaxed) && catch_unwind(AssertUnwindSafe(refuses)).unwrap_or(false);
    // SAFETY: the engine's function with the engine's arguments.
    !refused && unsafe { (engine.supports_op)(device, op) }
}

/// In the place of the registration's `get_proc_address`.
///
/// # Safety
/// Called by the engine.
pub unsafe extern "C" fn get_proc_address(registration: *mut Registration, name: *const c_char) -> *mut c_void {
    let found = catch_unwind(|| {
        let engines = ENGINES.read().unwrap_or_else(PoisonError::into_inner);
        engines.iter().copied().find(|engine| engine.registration == registration)
    });
    let Ok(Some(engine)) = found else { return std::ptr::null_mut() };
    engine.calls.get_proc_address.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a C string of the engine's.
    let asks_for_extra = !name.is_null() && unsafe { CStr::from_ptr(name) } == extra::NAME;
    if asks_for_extra && !engine.off.load(Ordering::Relaxed) {
        return extra::get_extra_buffer_types as GetExtraBufferTypes as *mut c_void;
    }
    // SAFETY: the engine's function with the engine's arguments.
    unsafe { (engine.get_proc_address)(registration, name) }
}
