//! Products with experts: which activation rows go to which expert is known only when the node is computed. The rows are
//! packed expert by expert, so that each expert's are one product.

use crate::graph::{Matrices, RowsAt};
use crate::layout::Tensor;
use gguffuse::blocks::TensorType;
use std::cell::UnsafeCell;

/// The tensor with the choices: `ids[token][choice]` is an expert's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    data: *const u8,
    /// Bytes from one choice to the next, and from one token to the next.
    nb: [usize; 2],
    choices: usize,
    tokens: usize,
    experts: usize,
}

/// The choices of all tokens, sorted by expert. Sorted by one thread while the others wait, then read by all.
#[derive(Default)]
pub struct Groups(UnsafeCell<Lists>);

/// What was sorted.
#[derive(Default)]
pub struct Lists {
    /// Where the choices of an expert begin in `order`, and where those of the last end.
    begin: Vec<u32>,
    /// Token * choices + choice.
    order: Vec<u32>,
    /// Experts that were chosen at all.
    pub chosen: Vec<u32>,
    choices: usize,
}

/// A token's choice.
#[derive(Clone, Copy)]
pub struct Choice {
    pub token: usize,
    pub choice: usize,
}

impl Ids {
    /// The ids of `y[token][choice][n] = x[token][choice or 0][k] * w[ids[token][choice]][n][k]`; `None` where the operands
    /// are not that.
    pub fn of(w: &Matrices, x: &RowsAt, y: &RowsAt, ids: &Tensor) -> Option<Ids> {
        let [choices, tokens, ..] = ids.ne.map(|ne| usize::try_from(ne).unwrap_or(0));
        let nb = [ids.nb[0], ids.nb[1]];
        let aligned = ids.data.addr().is_multiple_of(4) && nb.iter().all(|bytes| bytes.is_multiple_of(4));
        let i32s = ids.tensor_type == TensorType::I32.id() && aligned && !ids.data.is_null();
        let rows = y.ne == [choices, tokens, 1] && x.ne[1..] == [tokens, 1] && choices.is_multiple_of(x.ne[0]);
        let few = u32::try_from(y.count()).is_ok() && u32::try_from(w.ne[0]).is_ok() && w.ne[1] == 1;
        (i32s && rows && few).then_some(Ids { data: ids.data, nb, choices, tokens, experts: w.ne[0] })
    }

    fn pairs(&self) -> usize {
        self.choices * self.tokens
    }

    /// The expert of a pair (token * choices + choice); `None` where it is none.
    ///
    /// # Safety
    /// The ids are there.
    unsafe fn expert(&self, pair: usize) -> Option<usize> {
        let offset = pair % self.choices * self.nb[0] + pair / self.choices * self.nb[1];
        // SAFETY: an element of the tensor, aligned as `of` has seen.
        let id = unsafe { self.data.add(offset).cast::<i32>().read() };
        usize::try_from(id).ok().filter(|id| *id < self.experts)
    }
}

impl Groups {
    /// Makes room.
    pub fn prepare(&mut self, ids: &Ids) {
        let lists = self.0.get_mut();
        for (list, count) in
            [(&mut lists.begin, ids.experts + 1), (&mut lists.order, ids.pairs()), (&mut lists.chosen, ids.experts)]
        {
            list.clear();
            list.reserve(count);
        }
    }

    /// Sorts, in the room that there is. Whether every choice is an expert.
    ///
    /// # Safety
    /// The ids are there, and no other thread uses the lists.
    pub unsafe fn sort(&self, ids: &Ids) -> bool {
        // SAFETY: the caller's promise.
        let Lists { begin, order, chosen, choices } = unsafe { &mut *self.0.get() };
        *choices = ids.choices;
        begin.clear();
        begin.resize(ids.experts + 1, 0);
        order.clear();
        order.resize(ids.pairs(), 0);
        chosen.clear();
        for pair in 0..order.len() {
            // SAFETY: the caller's promise.
            let Some(expert) = (unsafe { ids.expert(pair) }) else { return false };
            begin[expert] += 1;
        }
        let mut end = 0;
        for (expert, count) in begin.iter_mut().enumerate() {
            if *count > 0 {
                chosen.push(expert as u32);
            }
            end += *count;
            *count = end;
        }
        // From the back, so that each expert's end becomes its begin, and its tokens stay in order.
        for pair in (0..order.len()).rev() {
            // SAFETY: the caller's promise.
            let Some(expert) = (unsafe { ids.expert(pair) }) else { return false };
            begin[expert] -= 1;
            order[begin[expert] as usize] = pair as u32;
        }
        true
    }

    /// What was sorted.
    ///
    /// # Safety
    /// No thread is sorting.
    pub unsafe fn lists(&self) -> &Lists {
        // SAFETY: the caller's promise.
        unsafe { &*self.0.get() }
    }
}

impl Lists {
    /// The positions of an expert's choices.
    pub fn of(&self, expert: usize) -> std::ops::Range<usize> {
        self.begin[expert] as usize..self.begin[expert + 1] as usize
    }

    /// The choice at `position` of the sorted ones.
    pub fn choice(&self, position: usize) -> Choice {
        let pair = self.order[position] as usize;
        Choice { token: pair / self.choices, choice: pair % self.choices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_sorted_by_expert() {
        // Three tokens with two choices each, among four experts.
        let ids = [3i32, 1, 1, 0, 3, 1];
        let of_ids = |ids: &[i32; 6]| Ids { data: ids.as_ptr().cast(), nb: [4, 8], choices: 2, tokens: 3, experts: 4 };
        let groups = Groups::default();
        // SAFETY: one thread, and ids of this function.
        let lists = unsafe {
            assert!(groups.sort(&of_ids(&ids)));
            groups.lists()
        };
        assert_eq!(lists.chosen, [0, 1, 3]);
        let of = |expert: usize| {
            let choices = lists.of(expert).map(|position| lists.choice(position));
            choices.map(|choice| (choice.token, choice.choice)).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [(1, 1)]);
        assert_eq!(of(1), [(0, 1), (1, 0), (2, 1)]);
        assert_eq!(of(2), []);
        assert_eq!(of(3), [(0, 0), (2, 0)]);
        // SAFETY: as above.
        assert!(!unsafe { groups.sort(&of_ids(&[4, 1, 1, 0, 3, 1])) });
        // SAFETY: as above.
        assert!(!unsafe { groups.sort(&of_ids(&[3, 1, 1, 0, 3, -1])) });
    }
}
