//! The AMX instructions of 8-bit integers on CPUs without: a handler of SIGILL executes them, with all checks of shapes that
//! the CPU makes; a handler of SIGSYS answers requests for the permission as a test wants it. A mistake that the CPU would
//! answer with an exception ends the process with a message, as do tiles that a thread still has when the process exits. Also
//! used by the unit tests of the library.
//!
//! Handlers call nothing that could lock or allocate. One signal serves as many instructions as follow each other.

use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::arch::x86_64::__cpuid_count;
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that have tiles.
static OWNERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Tile products of this thread so far.
    pub static PRODUCTS: Cell<u64> = const { Cell::new(0) };
    /// How requests of this thread are answered: 0 or the negative error.
    pub static ANSWER: Cell<i64> = const { Cell::new(0) };
    /// Requests of this thread so far.
    pub static REQUESTS: Cell<u32> = const { Cell::new(0) };
    static TILES: UnsafeCell<State> = const { UnsafeCell::new(State::RELEASED) };
}

/// A thread's tiles. Shapes are 0 where a tile is not configured.
struct State {
    configured: bool,
    lines: [usize; 8],
    line_bytes: [usize; 8],
    data: [[[u8; 64]; 16]; 8],
}

impl State {
    const RELEASED: State = State { configured: false, lines: [0; 8], line_bytes: [0; 8], data: [[[0; 64]; 16]; 8] };

    /// LDTILECFG.
    fn configure(&mut self, configuration: &[u8; 64]) {
        *self = State::RELEASED;
        check(configuration[0] == 1, "#GP: the palette is not 1");
        check(configuration[1] == 0, "tiles that start in the middle: not emulated");
        check(configuration[2..16].iter().all(|byte| *byte == 0), "#GP: a reserved byte is set");
        for tile in 0..16 {
            let line_bytes =
                usize::from(u16::from_le_bytes([configuration[16 + 2 * tile], configuration[17 + 2 * tile]]));
            let lines = usize::from(configuration[48 + tile]);
            check(tile < 8 || (line_bytes == 0 && lines == 0), "#GP: there are 8 tiles");
            check(line_bytes <= 64 && lines <= 16, "#GP: a tile has at most 16 lines of 64 bytes");
            check((line_bytes == 0) == (lines == 0), "#GP: a tile has lines without bytes, or bytes without lines");
            if tile < 8 {
                (self.line_bytes[tile], self.lines[tile]) = (line_bytes, lines);
            }
        }
        self.configured = true;
    }

    /// STTILECFG: zeros where nothing is configured.
    fn configuration(&self) -> [u8; 64] {
        let mut configuration = [0; 64];
        configuration[0] = u8::from(self.configured);
        for tile in 0..8 {
            configuration[16 + 2 * tile] = self.line_bytes[tile] as u8;
            configuration[48 + tile] = self.lines[tile] as u8;
        }
        configuration
    }

    fn require(&self, tile: usize) {
        check(self.configured, "#UD: no tiles are configured");
        check(tile < 8 && self.lines[tile] != 0, "#UD: the tile is not configured");
    }

    /// TILELOADD. Bytes beyond the shape become 0.
    ///
    /// # Safety
    /// The lines are readable, or the program is wrong and faults here as it would on its own.
    unsafe fn load(&mut self, tile: usize, address: u64, stride: u64) {
        self.require(tile);
        self.data[tile] = [[0; 64]; 16];
        for line in 0..self.lines[tile] {
            let from = address.wrapping_add(stride.wrapping_mul(line as u64)) as *const u8;
            // SAFETY: the caller's promise.
            unsafe { from.copy_to_nonoverlapping(self.data[tile][line].as_mut_ptr(), self.line_bytes[tile]) };
        }
    }

    /// TILESTORED.
    ///
    /// # Safety
    /// As `load`, for writing.
    unsafe fn store(&self, tile: usize, address: u64, stride: u64) {
        self.require(tile);
        for line in 0..self.lines[tile] {
            let to = address.wrapping_add(stride.wrapping_mul(line as u64)) as *mut u8;
            // SAFETY: the caller's promise.
            unsafe { to.copy_from_nonoverlapping(self.data[tile][line].as_ptr(), self.line_bytes[tile]) };
        }
    }

    /// TDPB**D: `sums += a * b`, bytes of `a` and `b` signed or not.
    fn product(&mut self, sums: usize, a: usize, b: usize, a_signed: bool, b_signed: bool) {
        check(sums != a && sums != b && a != b, "#UD: a tile twice among the operands");
        for tile in [sums, a, b] {
            self.require(tile);
            check(self.line_bytes[tile].is_multiple_of(4), "#UD: a line is not made of words");
        }
        check(self.lines[sums] == self.lines[a], "#UD: the sums have not the lines of the first factor");
        check(self.line_bytes[sums] == self.line_bytes[b], "#UD: the sums have not the columns of the second factor");
        check(self.line_bytes[a] / 4 == self.lines[b], "#UD: the factors do not fit together");
        let widen = |byte: u8, signed: bool| if signed { i32::from(byte as i8) } else { i32::from(byte) };
        for line in 0..self.lines[sums] {
            let mut words = [0i32; 16];
            for (word, bytes) in words.iter_mut().zip(self.data[sums][line].as_chunks::<4>().0) {
                *word = i32::from_le_bytes(*bytes);
            }
            for k in 0..self.lines[b] {
                let four: [i32; 4] = std::array::from_fn(|byte| widen(self.data[a][line][4 * k + byte], a_signed));
                for (word, bytes) in words.iter_mut().zip(self.data[b][k].as_chunks::<4>().0) {
                    for byte in 0..4 {
                        *word = word.wrapping_add(four[byte] * widen(bytes[byte], b_signed));
                    }
                }
            }
            for (word, bytes) in words.iter().zip(self.data[sums][line].as_chunks_mut::<4>().0) {
                *bytes = word.to_le_bytes();
            }
        }
        PRODUCTS.set(PRODUCTS.get() + 1);
    }
}

/// Whether the calling thread has tiles.
pub fn has_tiles() -> bool {
    // SAFETY: the handler of this thread, the only other user, does not run meanwhile.
    TILES.with(|tiles| unsafe { (*tiles.get()).configured })
}

/// Ends the process with `what` unless `holds`.
fn check(holds: bool, what: &str) {
    if !holds {
        for text in ["AMX emulator: ", what, "\n"] {
            // SAFETY: write(2) of a string.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        }
        // SAFETY: always allowed.
        unsafe { libc::abort() };
    }
}

/// A decoded instruction.
struct Instruction {
    length: u64,
    prefix: u8,
    opcode: u8,
    /// ModRM.reg and VEX.vvvv.
    register: usize,
    second: usize,
    /// ModRM.rm of a register form.
    operand: Option<usize>,
    /// Address without the index, and the scaled index, of a memory form.
    address: u64,
    stride: u64,
}

/// The instruction at `code`, if its encoding is one of AMX.
///
/// # Safety
/// `code` is what the CPU was about to execute.
unsafe fn decode(code: *const u8, registers: &[i64; 23]) -> Option<Instruction> {
    const NUMBERS: [c_int; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let general = |number: u8| registers[NUMBERS[usize::from(number)] as usize] as u64;
    // SAFETY: bytes of an instruction that the CPU has read; each is looked at only when those before say that it is there.
    let at = |offset: usize| unsafe { *code.add(offset) };
    if at(0) != 0xc4 {
        return None;
    }
    let (first, second) = (at(1), at(2));
    // Map 0F38, W0, 128 bits.
    if first & 31 != 2 || second & 0x84 != 0 || !matches!(at(3), 0x49 | 0x4b | 0x5e) {
        return None;
    }
    let extension = |bit: u8| (!first >> bit & 1) << 3;
    let (form, register, rm) = (at(4) >> 6, at(4) >> 3 & 7 | extension(7), at(4) & 7);
    let mut instruction = Instruction {
        length: 5,
        prefix: second & 3,
        opcode: at(3),
        register: usize::from(register),
        second: usize::from(!second >> 3 & 15),
        operand: None,
        address: 0,
        stride: 0,
    };
    if form == 3 {
        instruction.operand = Some(usize::from(rm | extension(5)));
        return Some(instruction);
    }
    let mut offset = 5;
    let base = if rm == 4 {
        let sib = at(offset);
        offset += 1;
        let index = sib >> 3 & 7 | extension(6);
        if index != 4 {
            instruction.stride = general(index) << (sib >> 6);
        }
        sib & 7
    } else {
        rm
    };
    check(form != 0 || base != 5, "addresses without a base register: not emulated");
    let displacement = match form {
        0 => 0,
        1 => i64::from(at(offset) as i8),
        _ => i64::from(i32::from_le_bytes([at(offset), at(offset + 1), at(offset + 2), at(offset + 3)])),
    };
    instruction.length = offset as u64 + [0, 1, 4][usize::from(form)];
    instruction.address = general(base | extension(5)).wrapping_add_signed(displacement);
    Some(instruction)
}

/// Executes an instruction; false if it is none of AMX.
///
/// # Safety
/// It is the thread's next instruction.
unsafe fn execute(state: &mut State, instruction: &Instruction) -> bool {
    let &Instruction { prefix, opcode, register, second, operand, address, stride, .. } = instruction;
    // Prefixes are none, 66, F3, F2.
    // SAFETY: memory is accessed as the instruction says.
    unsafe {
        match (opcode, prefix, operand) {
            (0x49, 0, None) => {
                OWNERS.fetch_add(usize::from(!state.configured), Ordering::Relaxed);
                state.configure(&*(address as *const [u8; 64]));
            }
            (0x49, 1, None) => *(address as *mut [u8; 64]) = state.configuration(),
            (0x49, 0, Some(0)) => {
                OWNERS.fetch_sub(usize::from(state.configured), Ordering::Relaxed);
                *state = State::RELEASED;
            }
            (0x49, 3, Some(0)) => {
                state.require(register);
                state.data[register] = [[0; 64]; 16];
            }
            (0x4b, 1 | 3, None) => state.load(register, address, stride),
            (0x4b, 2, None) => state.store(register, address, stride),
            // None: u u, 66: u s, F3: s u, F2: s s.
            (0x5e, _, Some(a)) => state.product(register, a, second, prefix & 2 != 0, prefix & 1 != 0),
            _ => return false,
        }
    }
    true
}

extern "C" fn illegal_instruction(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's context of this thread; the state is this thread's, and handlers of one thread do not nest.
    unsafe {
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let state = TILES.with(|tiles| &mut *tiles.get());
        let mut executed = 0;
        loop {
            let place = registers[libc::REG_RIP as usize];
            match decode(place as *const u8, registers) {
                Some(instruction) if execute(state, &instruction) => {
                    registers[libc::REG_RIP as usize] += instruction.length as i64;
                    executed += 1;
                }
                _ => break,
            }
        }
        if executed == 0 {
            // None of ours: it shall end the process, as it would without this handler.
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        }
    }
}

const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;

extern "C" fn system_call(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's context of this thread.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let feature = registers[libc::REG_RSI as usize];
    check(feature == 18, "permission for something else than tiles");
    REQUESTS.set(REQUESTS.get() + 1);
    registers[libc::REG_RAX as usize] = ANSWER.get();
}

/// Whether the CPU lacks AMX.
pub fn is_needed() -> bool {
    const AMX_TILE_AND_INT8: u32 = 3 << 24;
    __cpuid_count(7, 0).edx & AMX_TILE_AND_INT8 != AMX_TILE_AND_INT8
}

fn handle(signal: c_int, handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void)) {
    // SAFETY: both handlers touch nothing but their context and thread-local or atomic state.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        check(libc::sigaction(signal, &action, std::ptr::null_mut()) == 0, "sigaction failed");
    }
}

/// The C library's function, but that SIGILL is never blocked: the library's workers block all signals, and the kernel ends a
/// process that cannot be told of an illegal instruction.
///
/// # Safety
/// As pthread_sigmask(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigmask(how: c_int, set: *const libc::sigset_t, old: *mut libc::sigset_t) -> c_int {
    // What the kernel has of a set.
    const BYTES: usize = 8;
    // SAFETY: the caller's promise; the kernel reads and writes the first bytes of sets, the others are 0.
    unsafe {
        let mut without = if set.is_null() { std::mem::zeroed() } else { *set };
        if how != libc::SIG_UNBLOCK && is_needed() {
            libc::sigdelset(&mut without, libc::SIGILL);
        }
        let given = if set.is_null() { std::ptr::null() } else { &raw const without };
        if !old.is_null() {
            libc::sigemptyset(old);
        }
        match libc::syscall(libc::SYS_rt_sigprocmask, how, given, old, BYTES) {
            0 => 0,
            _ => *libc::__errno_location(),
        }
    }
}

/// From here on, AMX instructions of this process are executed here.
pub fn emulate() {
    extern "C" fn at_exit() {
        check(OWNERS.load(Ordering::Relaxed) == 0, "a thread has kept its tiles");
    }
    handle(libc::SIGILL, illegal_instruction);
    // SAFETY: the function is there until the end.
    check(unsafe { libc::atexit(at_exit) } == 0, "atexit failed");
}

/// From here on, requests for the permission of this thread and those that it will start get [`ANSWER`] and never reach the
/// kernel.
pub fn answer_requests() {
    handle(libc::SIGSYS, system_call);
    // struct seccomp_data: the number at 0, the low half of the first argument at 16.
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let give = |answer| statement(libc::BPF_RET | libc::BPF_K, answer);
    let skip_unless = |k: u32, skipped: u8| {
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        libc::sock_filter { code, jt: 0, jf: skipped, k }
    };
    let mut filter = [
        load(0),
        skip_unless(libc::SYS_arch_prctl as u32, 3),
        load(16),
        skip_unless(ARCH_REQ_XCOMP_PERM as u32, 1),
        give(libc::SECCOMP_RET_TRAP),
        give(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl(2), with a filter that outlives the call.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS failed");
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0, "PR_SET_SECCOMP failed");
    }
}

/// Emulates from before `main` where the CPU needs it, so that every test finds the level: `$pretend` makes it available.
macro_rules! emulate_before_main {
    ($pretend:path) => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static EMULATE: extern "C" fn() = {
            extern "C" fn emulate() {
                if emulator::is_needed() {
                    emulator::emulate();
                    emulator::answer_requests();
                    // SAFETY: the emulator is in place, and nothing has asked for levels yet.
                    unsafe { $pretend() };
                }
            }
            emulate
        };
    };
}
pub(crate) use emulate_before_main;
