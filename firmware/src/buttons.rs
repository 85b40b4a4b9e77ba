//! What pressed buttons ask for.

/// What a user can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Action {
    /// The class after this one.
    NextClass,
    /// The class before this one.
    PreviousClass,
    /// The picture of the next seed.
    NewSeed,
    /// A walk from seed to seed, or its end.
    Walk,
    /// Other colours.
    NextPalette,
}

/// A press shorter than this is the bouncing of a contact.
const BOUNCE_MS: u32 = 20;

/// A press longer than this asks for something else.
const LONG_MS: u32 = 500;

/// Two buttons: A short is the next class, A long the previous one, B short a new seed,
/// B long the walk, both together the palette.
#[derive(Default)]
pub struct TwoButtons {
    /// All that were down in this press: 1 for A, 2 for B; 0 between presses.
    down: u8,
    since_ms: u32,
    is_answered: bool,
}

impl TwoButtons {
    /// Takes what is down now; long presses are answered while they last, others at
    /// their end.
    pub fn poll(&mut self, a: bool, b: bool, now_ms: u32) -> Option<Action> {
        let down = u8::from(a) | u8::from(b) << 1;
        if self.down == 0 {
            *self = Self {
                down,
                since_ms: now_ms,
                is_answered: false,
            };
            return None;
        }
        let held_ms = now_ms.wrapping_sub(self.since_ms);
        let is_over = down == 0;
        let pressed = self.down | down;
        self.down = if is_over { 0 } else { pressed };
        let action = match pressed {
            1 if held_ms >= LONG_MS => Action::PreviousClass,
            2 if held_ms >= LONG_MS => Action::Walk,
            1 if is_over => Action::NextClass,
            2 if is_over => Action::NewSeed,
            3 if is_over => Action::NextPalette,
            _ => return None,
        };
        let is_due = !self.is_answered && held_ms >= BOUNCE_MS;
        self.is_answered = true;
        is_due.then_some(action)
    }
}

/// Five buttons, one for each action, answered when they go down.
pub struct FiveButtons {
    down: u8,
    changed_ms: u32,
}

impl FiveButtons {
    /// The action of each bit of what [`poll`](Self::poll) takes.
    pub const ACTIONS: [Action; 5] = [
        Action::NextClass,
        Action::PreviousClass,
        Action::NextPalette,
        Action::NewSeed,
        Action::Walk,
    ];

    /// A button that is down at the start is answered only after it has been let go.
    pub const fn new() -> Self {
        Self {
            down: 0b1_1111,
            changed_ms: 0,
        }
    }

    /// Takes the buttons that are down now, a bit each.
    pub fn poll(&mut self, down: u8, now_ms: u32) -> Option<Action> {
        let pressed = down & !self.down;
        let is_bounce = now_ms.wrapping_sub(self.changed_ms) < BOUNCE_MS;
        if down == self.down || is_bounce {
            return None;
        }
        (self.down, self.changed_ms) = (down, now_ms);
        let actions = Self::ACTIONS.iter().enumerate();
        let mut asked = actions.filter(|&(i, _)| pressed & (1 << i) != 0);
        asked.next().map(|(_, &action)| action)
    }
}

impl Default for FiveButtons {
    fn default() -> Self {
        Self::new()
    }
}
