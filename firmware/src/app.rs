//! What is on the display: the boot screen, a picture, a walk between pictures, an error.

use core::f32::consts::PI;
use core::fmt;

use embedded_graphics::pixelcolor::{Gray8, PixelColor, Rgb888};
use embedded_graphics::prelude::DrawTarget;
use gan_core::gate::{self, Choice};
use gan_core::latent::slerp;
use gan_core::{InferError, Mode, Model, ModelError};
use heapless::Deque;
use micromath::F32Ext;

use crate::buttons::Action;
use crate::screen::{Hud, Palette, Screen, clear, show_boot};

/// What a board brings.
pub trait Board {
    /// The display's colour.
    type Color: PixelColor + From<Gray8> + From<Rgb888>;
    /// The display.
    type Display: DrawTarget<Color = Self::Color>;

    /// The display.
    fn display(&mut self) -> &mut Self::Display;
    /// Milliseconds since some moment; wraps.
    fn now_ms(&mut self) -> u32;
    /// What the buttons ask for since the last call. It is called between the rows of a
    /// picture too, so that no press is missed.
    fn action(&mut self) -> Option<Action>;
    /// Takes note of what happened.
    fn log(&mut self, event: Event<'_>);
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Event<'a> {
    /// The model has passed every check.
    Boot {
        /// The model's name.
        model: &'a str,
        /// Checksum of its file.
        crc32: u32,
        /// Length of its file.
        flash_bytes: usize,
        /// What drawing takes.
        arena_bytes: usize,
    },
    /// A button asked for something.
    Button(Action),
    /// A picture is on the display.
    Frame {
        /// Counted from 0; none in a model without classes.
        class: Option<usize>,
        /// Of the latent, or of the one that the walk comes from.
        seed: u64,
        /// Of [`WALK_STEPS`] on the way to the next seed.
        step: u8,
        /// Of the seed's picture, by the model's critic; more is better.
        score: Option<i8>,
        /// From the latent to the last row on the display.
        ms: u32,
    },
    /// The most stack that was ever in use.
    Stack {
        /// Touched since boot.
        used_bytes: usize,
        /// Reserved.
        of_bytes: usize,
    },
    /// The end: the error is on the display, and nothing follows.
    Failed(Fault),
}

/// What ends the application.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Fault {
    /// The model is damaged or not a model.
    Model(ModelError),
    /// The memory given does not suit the model.
    Infer(InferError),
    /// The picture is larger than the display.
    TooLarge {
        /// Of the picture.
        width_px: usize,
        /// Of the picture.
        height_px: usize,
    },
    /// The display does not take what is sent.
    Display,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => write!(f, "model: {error}"),
            Self::Infer(error) => write!(f, "drawing: {error}"),
            Self::TooLarge {
                width_px,
                height_px,
            } => write!(
                f,
                "a picture of {width_px}x{height_px} is too large for this display"
            ),
            Self::Display => f.write_str("the display does not answer"),
        }
    }
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<InferError> for Fault {
    fn from(error: InferError) -> Self {
        Self::Infer(error)
    }
}

/// What drawing takes of RAM.
pub struct Memory<'a> {
    /// [`Model::required_words`] of [`Mode::Streamed`].
    pub arena: &'a mut [u32],
    /// [`Model::input_len`] values.
    pub input: &'a mut [i8],
    /// As many again: where a walk goes.
    pub target: &'a mut [i8],
    /// [`Critic::input_len`](gan_core::Critic::input_len) values; none without a critic.
    pub seen: &'a mut [i8],
}

/// Pictures that the model's critic may look at for each one that is shown.
pub const CANDIDATES: u32 = 4;

/// How long the boot screen stays, unless a button is pressed.
const BOOT_MS: u32 = 1500;

/// Pictures of a walk from one seed to the next.
pub const WALK_STEPS: u8 = 32;

/// Fast boards wait, so that a walk can be followed.
pub const WALK_FRAME_MS: u32 = 60;

/// The share of the way that a walk has gone: it leaves and reaches a seed slowly. By
/// name, not as a method: on the host that would be the standard library's cosine, and
/// the simulator's walk another one.
fn eased(step: u8) -> f32 {
    let share = f32::from(step) / f32::from(WALK_STEPS);
    0.5 - 0.5 * F32Ext::cos(share * PI)
}

/// Remembers an action; one too many is dropped.
fn queue(pending: &mut Deque<Action, 4>, action: Option<Action>) {
    if let Some(action) = action {
        let _ = pending.push_back(action);
    }
}

/// What the display shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scene {
    Boot,
    Still,
    Walk,
}

/// The application's state.
pub struct App<'a> {
    model: &'a Model<'a>,
    memory: Memory<'a>,
    screen: Screen,
    scene: Scene,
    class: usize,
    /// Where to look for the next seed, if one is to be chosen.
    from: Option<u64>,
    /// On the display, or where the walk comes from.
    here: Choice,
    /// Where the walk goes, once it is under way.
    next: Option<Choice>,
    candidates: u32,
    /// Of the walk, also while it stands still.
    step: u8,
    palette: Palette,
    /// When the scene, or a walk's picture, began.
    since_ms: u32,
    pending: Deque<Action, 4>,
    is_stale: bool,
}

impl<'a> App<'a> {
    /// Shows the boot screen. The first picture will be of `class` and `seed`, or of the next
    /// seed that was vetted or that the model's critic passes; it looks at up to `candidates`
    /// for each picture.
    ///
    /// *Errors*: a picture larger than the display, a display that fails. A class that does
    /// not exist or memory of the wrong size is found by the first picture.
    pub fn boot<B: Board>(
        board: &mut B,
        model: &'a Model<'a>,
        memory: Memory<'a>,
        (class, seed): (usize, u64),
        candidates: u32,
    ) -> Result<Self, Fault> {
        let screen = Screen::new(board.display(), model.output_shape())?;
        board.log(Event::Boot {
            model: model.name(),
            crc32: model.crc32(),
            flash_bytes: model.file_bytes(),
            arena_bytes: model.required_bytes(Mode::Streamed),
        });
        show_boot(board.display(), model)?;
        Ok(Self {
            model,
            memory,
            screen,
            scene: Scene::Boot,
            class,
            from: Some(seed),
            here: Choice { seed, score: None },
            next: None,
            candidates,
            step: 0,
            palette: Palette::Plain,
            since_ms: board.now_ms(),
            pending: Deque::new(),
            is_stale: true,
        })
    }

    /// Does what is due: an action, the next picture of a walk, a picture that is stale.
    ///
    /// *Errors*: wrong memory, a display that fails.
    pub fn step<B: Board>(&mut self, board: &mut B) -> Result<(), Fault> {
        let elapsed_ms = board.now_ms().wrapping_sub(self.since_ms);
        queue(&mut self.pending, board.action());
        let action = self.pending.pop_front();
        if self.scene == Scene::Boot && (elapsed_ms >= BOOT_MS || action.is_some()) {
            clear(board.display())?;
            self.scene = Scene::Still;
        }
        if let Some(action) = action {
            board.log(Event::Button(action));
            self.act(action);
        } else if self.scene == Scene::Walk && elapsed_ms >= WALK_FRAME_MS {
            self.advance();
        }
        if self.is_stale && self.scene != Scene::Boot {
            self.draw(board)?;
            self.is_stale = false;
        }
        Ok(())
    }

    /// Whether nothing changes until a button is pressed.
    pub fn is_idle(&self) -> bool {
        self.scene == Scene::Still && !self.is_stale && self.pending.is_empty()
    }

    fn act(&mut self, action: Action) {
        let classes = self.model.class_count().max(1);
        match action {
            Action::NextClass => self.show_class((self.class + 1) % classes),
            Action::PreviousClass => self.show_class((self.class + classes - 1) % classes),
            Action::NewSeed => {
                self.from = Some(self.here.seed.wrapping_add(1));
                self.step = 0;
            }
            Action::Walk if self.scene == Scene::Walk => self.scene = Scene::Still,
            Action::Walk => self.scene = Scene::Walk,
            Action::NextPalette => {
                self.palette = self.palette.next(self.model.output_shape().c == 1);
            }
        }
        self.is_stale = true;
    }

    /// The seed stays, if the critic has no objection to it in the other class.
    fn show_class(&mut self, class: usize) {
        self.class = class;
        self.from = Some(self.here.seed);
    }

    fn advance(&mut self) {
        self.step += 1;
        if self.step >= WALK_STEPS {
            self.step = 0;
            self.here = self.next.take().unwrap_or(self.here);
        }
        self.is_stale = true;
    }

    fn class(&self) -> Option<usize> {
        (self.model.class_count() > 0).then_some(self.class)
    }

    /// Chooses the seeds that are missing: what is shown, and where a walk goes.
    fn choose<B: Board>(&mut self, board: &mut B) -> Result<(), InferError> {
        if let Some(from) = self.from.take() {
            self.here = self.choose_from(board, from)?;
            self.next = None;
        }
        if self.step > 0 && self.next.is_none() {
            let from = self.here.seed.wrapping_add(1);
            self.next = Some(self.choose_from(board, from)?);
        }
        Ok(())
    }

    fn choose_from<B: Board>(&mut self, board: &mut B, from: u64) -> Result<Choice, InferError> {
        let (class, pending) = (self.class(), &mut self.pending);
        let mut memory = gate::Memory {
            arena: self.memory.arena,
            input: self.memory.input,
            seen: self.memory.seen,
        };
        let between_rows = || queue(pending, board.action());
        let candidates = self.candidates;
        self.model
            .choose_seed(class, from, candidates, &mut memory, between_rows)
    }

    /// Writes the input: the seed's latent, moved towards the next seed's.
    fn fill_input(&mut self) -> Result<(), InferError> {
        let class = self.class();
        let Memory { input, target, .. } = &mut self.memory;
        self.model.fill_input(self.here.seed, class, input)?;
        if let Some(next) = self.next.filter(|_| self.step > 0) {
            self.model.fill_input(next.seed, class, target)?;
            let latent_len = self.model.latent_len();
            let (latent, _class) = input.split_at_mut_checked(latent_len).unwrap_or_default();
            slerp(latent, target, eased(self.step));
        }
        Ok(())
    }

    fn draw<B: Board>(&mut self, board: &mut B) -> Result<(), Fault> {
        self.choose(board)?;
        self.since_ms = board.now_ms();
        self.fill_input()?;
        let Memory { input, arena, .. } = &mut self.memory;
        let mut drawn = Ok(());
        self.model.run(input, arena, |row, values| {
            if drawn.is_ok() {
                let display = board.display();
                drawn = self.screen.show_row(display, self.palette, row, values);
            }
            queue(&mut self.pending, board.action());
        })?;
        drawn?;
        let ms = board.now_ms().wrapping_sub(self.since_ms);
        let hud = Hud {
            label: self.model.label(self.class).unwrap_or(self.model.name()),
            seed: self.here.seed,
            step: self.step,
            score: self.here.score,
            ms,
        };
        self.screen.show_hud(board.display(), &hud)?;
        board.log(Event::Frame {
            class: self.class(),
            seed: self.here.seed,
            step: self.step,
            score: self.here.score,
            ms,
        });
        Ok(())
    }
}
