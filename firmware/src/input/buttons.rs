//! What pressed buttons ask for.

use embedded_hal::digital::InputPin;

use super::Action;

/// A contact bounces for less than this after it is closed or opened.
const BOUNCE_MS: u32 = 20;

/// A press longer than this asks for something else.
const LONG_MS: u32 = 500;

/// The buttons that are down, a bit each, without the bouncing of their contacts.
///
/// A change is taken at its first reading, and no other change for [`BOUNCE_MS`] after it.
/// Rows of an image may take longer than that, so a level cannot be read twice before it
/// counts: a short press would be missed.
struct Debounced {
    down: u8,
    changed_ms: u32,
}

impl Debounced {
    /// Takes the levels that are read now, and returns those that count.
    const fn read(&mut self, down: u8, now_ms: u32) -> u8 {
        if down != self.down && now_ms.wrapping_sub(self.changed_ms) >= BOUNCE_MS {
            (self.down, self.changed_ms) = (down, now_ms);
        }
        self.down
    }
}

/// Two buttons: A short is the next class, A long the previous one, B short a new seed,
/// B long the interpolation, both together the palette.
pub struct TwoButtons {
    contacts: Debounced,
    /// All that were down in this press: 1 for A, 2 for B; 0 between presses.
    pressed: u8,
    since_ms: u32,
    is_answered: bool,
}

impl TwoButtons {
    /// A button that is down at the start begins a press.
    pub const fn new() -> Self {
        Self {
            contacts: Debounced {
                down: 0,
                changed_ms: 0,
            },
            pressed: 0,
            since_ms: 0,
            is_answered: false,
        }
    }

    /// Takes what is down now; long presses are answered while they last, others at
    /// their end.
    pub fn poll(&mut self, a: bool, b: bool, now_ms: u32) -> Option<Action> {
        let down = self.contacts.read(u8::from(a) | u8::from(b) << 1, now_ms);
        if self.pressed == 0 {
            (self.pressed, self.since_ms, self.is_answered) = (down, now_ms, false);
            return None;
        }
        let is_over = down == 0;
        let is_long = !is_over && now_ms.wrapping_sub(self.since_ms) >= LONG_MS;
        let pressed = self.pressed | down;
        self.pressed = if is_over { 0 } else { pressed };
        let action = match pressed {
            1 if is_over => Action::NextClass,
            1 if is_long => Action::PreviousClass,
            2 if is_over => Action::NewSeed,
            2 if is_long => Action::Interpolate,
            3 if is_over => Action::NextPalette,
            _ => return None,
        };
        let is_due = !self.is_answered;
        self.is_answered = true;
        is_due.then_some(action)
    }
}

impl Default for TwoButtons {
    fn default() -> Self {
        Self::new()
    }
}

/// Two buttons' actions, from the pins that are low when a button is pressed. What it returns
/// takes the time in milliseconds.
pub fn two_pins<A: InputPin, B: InputPin>(mut a: A, mut b: B) -> impl FnMut(u32) -> Option<Action> {
    let mut buttons = TwoButtons::new();
    move |now_ms| {
        // A pin that cannot be read is not pressed.
        let a = a.is_low().unwrap_or(false);
        let b = b.is_low().unwrap_or(false);
        buttons.poll(a, b, now_ms)
    }
}

/// Five buttons, one for each action, answered when they go down.
pub struct FiveButtons {
    contacts: Debounced,
}

impl FiveButtons {
    /// The action of each bit of what [`poll`](Self::poll) takes.
    pub const ACTIONS: [Action; 5] = [
        Action::NextClass,
        Action::PreviousClass,
        Action::NextPalette,
        Action::NewSeed,
        Action::Interpolate,
    ];

    /// A button that is down at the start is answered only after it has been let go.
    pub const fn new() -> Self {
        Self {
            contacts: Debounced {
                down: 0b1_1111,
                changed_ms: 0,
            },
        }
    }

    /// Takes the buttons that are down now, a bit each.
    pub fn poll(&mut self, down: u8, now_ms: u32) -> Option<Action> {
        let before = self.contacts.down;
        let pressed = self.contacts.read(down, now_ms) & !before;
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
