//! The handle tables: a handle is a number that is looked up, never an address that is followed. Knows nothing of what
//! the objects are.
//!
//! A handle holds three numbers: the kind (file, context), the slot, and the slot's generation, which counts how often
//! the slot was used before. A slot has one word of state, {generation, open, users}, changed only atomically:
//!
//! ```text
//! insert    take a free slot; write the object; state = {g, open, 0}
//! acquire   if state is {g, open, u}: {g, open, u+1}, else the handle is invalid
//! release   {g, any, u+1} -> {g, any, u}
//! close     if state is {g, open, u}: {g, closed, u}, else the handle is invalid
//! ```
//! A state becomes {g, closed, 0} exactly once per object, by the close or by the last release. Whoever did that owns
//! the slot alone (nobody can acquire or close it any more): it drops the object, sets the state to {g+1, closed, 0} and
//! puts the slot back on the free list. So closing never waits for users, an object is dropped exactly once, and an old
//! handle never meets a new object: a slot whose generations are used up is not used again.
//!
//! Nothing here locks: a thread that is stopped anywhere, or that a `fork` left behind in the parent, keeps nobody
//! waiting. (In the child, the users that it left behind never release: an object that was in use is not freed there.)
//!
//! Memory orderings. The object is published by the `Release` store of {g, open, 0} and seen through the `Acquire` of a
//! successful acquire or close (later changes of the state are read-modify-writes, so they continue that release
//! sequence). Every release and close is `AcqRel`: whatever users did to the object happens before the one that drops
//! it. The free list hands slots over by `Release` push and `Acquire` pop. Loads that only start a compare-exchange, or
//! whose outcome is "invalid", are `Relaxed`.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// How a handle is packed: from the top kind, slot, generation, and zeros (so it looks aligned). On 64-bit machines the
/// top byte makes it no address that a program could have.
struct Packing;

impl Packing {
    const GENERATION_SHIFT: u32 = if usize::BITS == 64 { 4 } else { 2 };
    const GENERATION_BITS: u32 = if usize::BITS == 64 { 32 } else { 14 };
    const SLOT_SHIFT: u32 = Self::GENERATION_SHIFT + Self::GENERATION_BITS;
    const SLOT_BITS: u32 = if usize::BITS == 64 { 20 } else { 12 };
    const KIND_SHIFT: u32 = Self::SLOT_SHIFT + Self::SLOT_BITS;
    const LAST_GENERATION: u64 = (1 << Self::GENERATION_BITS) - 1;
}

/// Segment s has `FIRST_SEGMENT << s` slots.
const FIRST_SEGMENT: u32 = 16;
const SEGMENTS: usize = Packing::SLOT_BITS as usize - 4;
const CAPACITY: u32 = (1 << Packing::SLOT_BITS) - FIRST_SEGMENT;

const USERS: u64 = (1 << 31) - 1;
const OPEN: u64 = 1 << 31;
const GENERATION: u32 = 32;

/// All zero bytes are a slot never used: generation 0, closed, no users.
struct Slot<T> {
    state: AtomicU64,
    next_free: AtomicU32,
    object: UnsafeCell<MaybeUninit<T>>,
}

/// The objects of one kind.
pub(super) struct Table<T> {
    kind: usize,
    invalid: &'static str,
    /// Slots that were ever taken; all below have their segment.
    issued: AtomicU32,
    /// Top of the stack of free slots: {count of changes, slot number + 1}. The count tells a stack that was changed and
    /// changed back from one that wasn't.
    free: AtomicU64,
    segments: [AtomicPtr<Slot<T>>; SEGMENTS],
}

// SAFETY: the objects are reached from any thread and dropped on any (hence Send + Sync); all else is atomic.
unsafe impl<T: Send + Sync> Sync for Table<T> {}

/// A user of an object: keeps it alive and the handle's slot taken, even when the handle is closed meanwhile.
pub(super) struct Ref<'a, T> {
    table: &'a Table<T>,
    slot: &'a Slot<T>,
    number: u32,
}

impl<T> Table<T> {
    /// `kind` is the handles' top byte, 1 to 15; `invalid` the text of the error for handles that aren't.
    pub(super) const fn new(kind: usize, invalid: &'static str) -> Self {
        Table {
            kind,
            invalid,
            issued: AtomicU32::new(0),
            free: AtomicU64::new(0),
            segments: [const { AtomicPtr::new(null_mut()) }; SEGMENTS],
        }
    }

    /// Takes the object in and returns its handle.
    pub(super) fn insert(&self, object: T) -> Result<usize> {
        let (slot, number) = match self.pop_free() {
            Some(taken) => taken,
            None => self.grow()?,
        };
        // SAFETY: the slot was just taken from the free list or made: its state is closed without users, so no other
        // thread touches the object.
        unsafe { (*slot.object.get()).write(object) };
        let generation = slot.state.load(Relaxed) >> GENERATION;
        slot.state.store(generation << GENERATION | OPEN, Release);
        Ok(self.kind << Packing::KIND_SHIFT
            | (number as usize) << Packing::SLOT_SHIFT
            | (generation as usize) << Packing::GENERATION_SHIFT)
    }

    /// The object of `handle`, for as long as the answer lives.
    pub(super) fn acquire(&self, handle: usize) -> Result<Ref<'_, T>> {
        let (slot, number, generation) = self.locate(handle)?;
        let mut state = slot.state.load(Relaxed);
        loop {
            if state & OPEN == 0 || state >> GENERATION != generation {
                return Err(Error::InvalidHandle(self.invalid));
            }
            if state & USERS == USERS {
                return Err(Error::OutOfMemory("the handle has 2^31 users"));
            }
            match slot
                .state
                .compare_exchange_weak(state, state.wrapping_add(1), Acquire, Relaxed)
            {
                Ok(_) => {
                    return Ok(Ref {
                        table: self,
                        slot,
                        number,
                    });
                }
                Err(now) => state = now,
            }
        }
    }

    /// Makes `handle` invalid; the object goes with its last user. Of several that close one handle, one succeeds.
    pub(super) fn close(&self, handle: usize) -> Result<()> {
        let (slot, number, generation) = self.locate(handle)?;
        let mut state = slot.state.load(Relaxed);
        loop {
            if state & OPEN == 0 || state >> GENERATION != generation {
                return Err(Error::InvalidHandle(self.invalid));
            }
            match slot.state.compare_exchange_weak(state, state & !OPEN, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & USERS == 0 {
            self.recycle(slot, number);
        }
        Ok(())
    }

    /// Slot, its number, and generation of a handle of this kind whose slot was ever taken.
    fn locate(&self, handle: usize) -> Result<(&Slot<T>, u32, u64)> {
        let number = (handle >> Packing::SLOT_SHIFT & ((1 << Packing::SLOT_BITS) - 1)) as u32;
        let generation = (handle >> Packing::GENERATION_SHIFT) as u64 & Packing::LAST_GENERATION;
        let rest = handle & ((1 << Packing::GENERATION_SHIFT) - 1);
        let ours = handle >> Packing::KIND_SHIFT == self.kind && rest == 0;
        match self.slot(number) {
            Some(slot) if ours => Ok((slot, number, generation)),
            _ => Err(Error::InvalidHandle(self.invalid)),
        }
    }

    /// The slot of that number, if it was ever taken.
    fn slot(&self, number: u32) -> Option<&Slot<T>> {
        // Acquire: pairs with `grow`, so that the segment's pointer and zeroes are seen.
        if number >= self.issued.load(Acquire) {
            return None;
        }
        let (segment, offset) = place(number);
        let segment = self.segments.get(segment)?.load(Acquire);
        // SAFETY: below `issued`, so the segment is there; `place` gives an offset inside of it; it is never freed.
        (!segment.is_null()).then(|| unsafe { &*segment.add(offset) })
    }

    /// The state is {g, closed, 0} and the caller made it so: drops the object and frees the slot.
    fn recycle(&self, slot: &Slot<T>, number: u32) {
        // SAFETY: the object was written by `insert`; no one else has it or can get it (see the protocol).
        unsafe { (*slot.object.get()).assume_init_drop() };
        let generation = slot.state.load(Relaxed) >> GENERATION;
        if generation < Packing::LAST_GENERATION {
            // Relaxed: the next owner gets the slot through the free list; to others it is closed before and after.
            slot.state.store(generation.wrapping_add(1) << GENERATION, Relaxed);
            self.push_free(slot, number);
        }
    }

    fn push_free(&self, slot: &Slot<T>, number: u32) {
        let mut top = self.free.load(Relaxed);
        loop {
            slot.next_free.store(top as u32, Relaxed);
            let new = changed(top, number.wrapping_add(1));
            match self.free.compare_exchange_weak(top, new, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    fn pop_free(&self) -> Option<(&Slot<T>, u32)> {
        let mut top = self.free.load(Acquire);
        loop {
            let number = (top as u32).checked_sub(1)?;
            let slot = self.slot(number)?;
            // Another thread may have taken the slot meanwhile; then this number is nonsense and the exchange fails.
            let next = slot.next_free.load(Relaxed);
            match self
                .free
                .compare_exchange_weak(top, changed(top, next), Acquire, Acquire)
            {
                Ok(_) => return Some((slot, number)),
                Err(now) => top = now,
            }
        }
    }

    /// Takes a slot that was never used.
    fn grow(&self) -> Result<(&Slot<T>, u32)> {
        let mut number = self.issued.load(Relaxed);
        loop {
            if number >= CAPACITY {
                return Err(Error::OutOfMemory("too many handles are open"));
            }
            let (segment, _) = place(number);
            self.provide_segment(segment)?;
            // Release: publishes the segment to those that see the new count. Only then is the slot ours.
            match self
                .issued
                .compare_exchange_weak(number, number.wrapping_add(1), Release, Relaxed)
            {
                Ok(_) => break,
                Err(now) => number = now,
            }
        }
        let slot = self
            .slot(number)
            .ok_or(Error::Internal("the handle table lost a segment"))?;
        Ok((slot, number))
    }

    fn provide_segment(&self, index: usize) -> Result<()> {
        const NO_MEMORY: Error = Error::OutOfMemory("no memory for the handle table");
        let segment = self.segments.get(index).ok_or(NO_MEMORY)?;
        if !segment.load(Acquire).is_null() {
            return Ok(());
        }
        let layout = Layout::array::<Slot<T>>((FIRST_SEGMENT as usize) << index).map_err(|_| NO_MEMORY)?;
        // SAFETY: a slot isn't zero-sized.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<Slot<T>>();
        if memory.is_null() {
            return Err(NO_MEMORY);
        }
        // Release: the zeroes go with the pointer.
        if segment.compare_exchange(null_mut(), memory, Release, Relaxed).is_err() {
            // SAFETY: allocated above with this layout; another thread was first, so nobody has seen it.
            unsafe { dealloc(memory.cast(), layout) };
        }
        Ok(())
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `insert` wrote the object before it opened the state, and as long as this user is counted nobody drops it.
        unsafe { (*self.slot.object.get()).assume_init_ref() }
    }
}

impl<T> Drop for Ref<'_, T> {
    fn drop(&mut self) {
        let before = self.slot.state.fetch_sub(1, AcqRel);
        if before & (OPEN | USERS) == 1 {
            self.table.recycle(self.slot, self.number);
        }
    }
}

/// Segment of slot `number`, and the offset in it.
fn place(number: u32) -> (usize, usize) {
    let shifted = number.saturating_add(FIRST_SEGMENT);
    let segment = shifted.ilog2().saturating_sub(FIRST_SEGMENT.ilog2());
    let start = FIRST_SEGMENT.wrapping_shl(segment);
    (segment as usize, shifted.saturating_sub(start) as usize)
}

/// A free list's top with one more change counted.
fn changed(top: u64, slot: u32) -> u64 {
    (top >> 32).wrapping_add(1) << 32 | u64::from(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn invalid<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::InvalidHandle(_)))
    }

    #[test]
    fn places_cover_the_table_without_gaps() {
        let mut expected = (0, 0);
        for number in 0..CAPACITY {
            assert_eq!(place(number), expected);
            expected.1 += 1;
            if expected.1 == (FIRST_SEGMENT as usize) << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(expected, (SEGMENTS, 0));
    }

    #[test]
    fn only_an_open_handle_is_valid() {
        static TABLE: Table<String> = Table::new(1, "not a string");
        static OTHER: Table<String> = Table::new(2, "not a string");
        let handle = TABLE.insert("one".into()).unwrap();
        assert_eq!(*TABLE.acquire(handle).unwrap(), "one");
        assert!(invalid(OTHER.acquire(handle)), "wrong kind");
        for bit in 0..usize::BITS {
            assert!(invalid(TABLE.acquire(handle ^ 1 << bit)), "bit {bit}");
            assert!(invalid(TABLE.close(handle ^ 1 << bit)), "bit {bit}");
        }
        for value in [0, 1, usize::MAX, &raw const handle as usize] {
            assert!(invalid(TABLE.acquire(value)) && invalid(TABLE.close(value)));
        }
        TABLE.close(handle).unwrap();
        assert!(invalid(TABLE.acquire(handle)) && invalid(TABLE.close(handle)));
        let next = TABLE.insert("two".into()).unwrap();
        assert_ne!(next, handle, "same slot, another generation");
        assert!(invalid(TABLE.acquire(handle)) && invalid(TABLE.close(handle)));
        assert_eq!(*TABLE.acquire(next).unwrap(), "two");
        TABLE.close(next).unwrap();
    }

    #[test]
    fn an_object_outlives_its_handle_while_used() {
        static TABLE: Table<std::sync::Arc<()>> = Table::new(1, "");
        let object = std::sync::Arc::new(());
        let handle = TABLE.insert(object.clone()).unwrap();
        let (first, second) = (TABLE.acquire(handle).unwrap(), TABLE.acquire(handle).unwrap());
        TABLE.close(handle).unwrap();
        drop(first);
        assert_eq!(std::sync::Arc::strong_count(&second), 2);
        drop(second);
        assert_eq!(std::sync::Arc::strong_count(&object), 1);
    }

    #[test]
    fn many_handles_at_once() {
        static TABLE: Table<usize> = Table::new(1, "");
        let handles: Vec<_> = (0..1000).map(|value| TABLE.insert(value).unwrap()).collect();
        for (value, handle) in handles.iter().enumerate() {
            assert_eq!(*TABLE.acquire(*handle).unwrap(), value);
        }
        for handle in &handles {
            TABLE.close(*handle).unwrap();
        }
        assert!(handles.iter().all(|handle| invalid(TABLE.acquire(*handle))));
    }

    #[test]
    fn a_slot_with_used_up_generations_is_retired() {
        static TABLE: Table<u8> = Table::new(1, "");
        let first = TABLE.insert(0).unwrap();
        TABLE.close(first).unwrap();
        let (slot, ..) = TABLE.locate(first).unwrap();
        slot.state.store(Packing::LAST_GENERATION << GENERATION, Relaxed);
        let last = TABLE.insert(1).unwrap();
        assert_eq!(*TABLE.acquire(last).unwrap(), 1);
        TABLE.close(last).unwrap();
        let other = TABLE.insert(2).unwrap();
        assert_eq!(TABLE.locate(other).unwrap().1, 1, "the next slot");
        assert!(invalid(TABLE.acquire(last)) && invalid(TABLE.acquire(first)));
    }

    /// Counts its drops; use after one shows.
    struct Counted(AtomicUsize, &'static AtomicUsize);

    impl Drop for Counted {
        fn drop(&mut self) {
            assert_eq!(self.0.swap(0, Relaxed), 42, "dropped once");
            self.1.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn hammer() {
        static TABLE: Table<Counted> = Table::new(3, "");
        static DROPS: AtomicUsize = AtomicUsize::new(0);
        let rounds = if cfg!(miri) { 20 } else { 5000 };
        let current = AtomicUsize::new(0);
        let (inserted, closed, used) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let handle = TABLE.insert(Counted(AtomicUsize::new(42), &DROPS)).unwrap();
                        inserted.fetch_add(1, Relaxed);
                        // All threads use and close the handle of whoever came last: most closes are races.
                        let shared = current.swap(handle, Relaxed);
                        for handle in [current.load(Relaxed), shared] {
                            if let Ok(user) = TABLE.acquire(handle) {
                                closed.fetch_add(usize::from(TABLE.close(handle).is_ok()), Relaxed);
                                assert_eq!(user.0.load(Relaxed), 42, "used after drop");
                                used.fetch_add(1, Relaxed);
                            }
                            closed.fetch_add(usize::from(TABLE.close(handle).is_ok()), Relaxed);
                        }
                    }
                });
            }
        });
        let last = current.load(Relaxed);
        closed.fetch_add(usize::from(TABLE.close(last).is_ok()), Relaxed);
        let expected = 4 * rounds;
        assert_eq!(inserted.load(Relaxed), expected);
        assert_eq!(closed.load(Relaxed), expected, "every handle was closed exactly once");
        assert_eq!(DROPS.load(Relaxed), expected, "every object was dropped exactly once");
        assert!(used.load(Relaxed) > 0);
    }
}
