//! The content of the display: the boot screen, an image, a latent interpolation, an error.

use core::f32::consts::PI;

use embedded_graphics::pixelcolor::{Gray8, PixelColor, Rgb888};
use embedded_graphics::prelude::DrawTarget;
use gan_core::choose::{self, Choice};
use gan_core::format::crc32;
use gan_core::latent::slerp;
use gan_core::{InferError, Mode, Model};
use heapless::Deque;
use micromath::F32Ext;

use crate::display::Restored;
use crate::event::{Event, Fault};
use crate::input::Action;
use crate::screen::{Hud, Palette, Screen, clear, show_boot};

/// The platform of the application: a board, or the simulator.
pub trait Platform {
    /// The display's colour.
    type Color: PixelColor + From<Gray8> + From<Rgb888>;
    /// The display.
    type Display: DrawTarget<Color = Self::Color>;

    /// The display.
    fn display(&mut self) -> &mut Self::Display;
    /// Sets a display up anew that did not take what was sent.
    fn restore_display(&mut self) -> Restored {
        Restored::Never
    }
    /// Milliseconds since some moment; wraps.
    fn now_ms(&mut self) -> u32;
    /// The request of the buttons since the last call. It is called between the rows of an
    /// image too, so that no press is missed.
    fn action(&mut self) -> Option<Action>;
    /// Puts the board's watchdog off, if it has one: the application makes progress. It is
    /// called wherever [`action`](Self::action) is.
    fn feed_watchdog(&mut self) {}
    /// Takes note of what happened.
    fn log(&mut self, event: Event<'_>);
}

/// The RAM that drawing takes.
pub struct Memory<'a> {
    /// [`Model::required_words`] of [`Mode::Streamed`].
    pub arena: &'a mut [u32],
    /// [`Model::input_len`] values.
    pub input: &'a mut [i8],
    /// As many values for the input at the end of an interpolation.
    pub target: &'a mut [i8],
    /// [`Critic::input_len`](gan_core::Critic::input_len) values; none without a critic.
    pub seen: &'a mut [i8],
}

/// Images that the model's critic may score for each one that is shown.
pub const CANDIDATES: u32 = 4;

/// Time for which the boot screen stays, unless a button is pressed.
const BOOT_MS: u32 = 1500;

/// Between tries to set up a display that has failed, at least.
pub const RETRY_MS: u32 = 500;

/// Images of an interpolation from one seed to the next.
pub const INTERPOLATION_STEPS: u8 = 32;

/// Fast boards wait, so that an interpolation can be followed.
pub const INTERPOLATION_FRAME_MS: u32 = 60;

/// The share of the way that an interpolation has gone: it leaves and reaches a seed slowly.
/// The cosine is called by name, not as a method: on the host that would be the standard
/// library's, and the simulator's images would differ.
fn eased(step: u8) -> f32 {
    let share = f32::from(step) / f32::from(INTERPOLATION_STEPS);
    0.5 - 0.5 * F32Ext::cos(share * PI)
}

/// Does what is due between two rows: feeds the watchdog and remembers an action. One too
/// many is dropped.
fn attend<P: Platform>(platform: &mut P, pending: &mut Deque<Action, 4>) {
    platform.feed_watchdog();
    if let Some(action) = platform.action() {
        let _ = pending.push_back(action);
    }
}

/// The content of the display.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scene {
    Boot,
    Still,
    Interpolation,
}

/// The application's state.
pub struct App<'a> {
    model: &'a Model<'a>,
    memory: Memory<'a>,
    screen: Screen,
    scene: Scene,
    class: usize,
    /// The first candidate for the next seed, if one is to be chosen.
    from: Option<u64>,
    /// The seed on the display, or the one that the interpolation comes from.
    here: Choice,
    /// The end of the interpolation, once it is under way.
    next: Option<Choice>,
    candidates: u32,
    /// Step of the interpolation, also while it stands still.
    step: u8,
    palette: Palette,
    /// When the scene, or an interpolation's image, began.
    since_ms: u32,
    pending: Deque<Action, 4>,
    is_stale: bool,
    /// The text around the image has to be cleared first.
    is_cluttered: bool,
    /// Tries to set the display up, while it does not take what is sent.
    tries: Option<u32>,
    /// The time of the last try.
    tried_ms: u32,
}

impl<'a> App<'a> {
    /// Begins with the boot screen. The first image will be of `class` and `seed`, or of the next
    /// seed that was vetted or that the model's critic passes; it looks at up to `candidates`
    /// for each image.
    ///
    /// *Errors*: an image larger than the display. A class that does not exist or memory of
    /// the wrong size is found by the first image.
    pub fn boot<P: Platform>(
        platform: &mut P,
        model: &'a Model<'a>,
        memory: Memory<'a>,
        (class, seed): (usize, u64),
        candidates: u32,
    ) -> Result<Self, Fault> {
        let screen = Screen::new(platform.display(), model.output_shape())?;
        platform.log(Event::Boot {
            model: model.name(),
            crc32: model.crc32(),
            flash_bytes: model.file_bytes(),
            arena_bytes: model.required_bytes(Mode::Streamed),
        });
        let now_ms = platform.now_ms();
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
            since_ms: now_ms,
            pending: Deque::new(),
            is_stale: true,
            is_cluttered: false,
            tries: None,
            tried_ms: now_ms.wrapping_sub(RETRY_MS),
        })
    }

    /// Does the next piece of work: an action, the next image of an interpolation, a stale image.
    /// A display that fails is set up anew as soon as that succeeds, and all of it drawn again;
    /// until then buttons are only remembered.
    ///
    /// *Errors*: wrong memory, a display that fails on a platform that cannot set it up.
    pub fn step<P: Platform>(&mut self, platform: &mut P) -> Result<(), Fault> {
        attend(platform, &mut self.pending);
        if let Some(tries) = self.tries {
            return self.restore(platform, tries);
        }
        match self.proceed(platform) {
            Err(Fault::Display) => {
                platform.log(Event::DisplayLost);
                self.restore(platform, 0)
            }
            outcome => outcome,
        }
    }

    /// Sets the display up anew, if the last try was long enough ago.
    fn restore<P: Platform>(&mut self, platform: &mut P, tries: u32) -> Result<(), Fault> {
        self.tries = Some(tries);
        let now_ms = platform.now_ms();
        if now_ms.wrapping_sub(self.tried_ms) < RETRY_MS {
            return Ok(());
        }
        self.tried_ms = now_ms;
        let tries = tries.saturating_add(1);
        match platform.restore_display() {
            Restored::Never => return Err(Fault::Display),
            Restored::NotYet => self.tries = Some(tries),
            Restored::Yes => {
                platform.log(Event::DisplayBack { tries });
                self.tries = None;
                self.redraw();
            }
        }
        Ok(())
    }

    /// Nothing on the display is of use any more.
    const fn redraw(&mut self) {
        self.is_stale = true;
        self.is_cluttered = true;
    }

    fn proceed<P: Platform>(&mut self, platform: &mut P) -> Result<(), Fault> {
        let elapsed_ms = platform.now_ms().wrapping_sub(self.since_ms);
        let action = self.pending.pop_front();
        if self.scene == Scene::Boot && (elapsed_ms >= BOOT_MS || action.is_some()) {
            self.scene = Scene::Still;
            self.redraw();
        }
        if let Some(action) = action {
            platform.log(Event::Button(action));
            self.act(action);
        } else if self.scene == Scene::Interpolation
            && elapsed_ms >= INTERPOLATION_FRAME_MS
            && !self.is_stale
        {
            self.advance();
        }
        if self.is_stale {
            self.draw(platform)?;
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
            Action::Interpolate if self.scene == Scene::Interpolation => self.scene = Scene::Still,
            Action::Interpolate => self.scene = Scene::Interpolation,
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
        if self.step >= INTERPOLATION_STEPS {
            self.step = 0;
            self.here = self.next.take().unwrap_or(self.here);
        }
        self.is_stale = true;
    }

    fn class(&self) -> Option<usize> {
        (self.model.class_count() > 0).then_some(self.class)
    }

    /// Chooses the seeds that are missing: what is shown, and where an interpolation goes.
    fn choose<P: Platform>(&mut self, platform: &mut P) -> Result<(), InferError> {
        if let Some(from) = self.from.take() {
            self.here = self.choose_from(platform, from)?;
            self.next = None;
        }
        if self.step > 0 && self.next.is_none() {
            let from = self.here.seed.wrapping_add(1);
            self.next = Some(self.choose_from(platform, from)?);
        }
        Ok(())
    }

    fn choose_from<P: Platform>(
        &mut self,
        platform: &mut P,
        from: u64,
    ) -> Result<Choice, InferError> {
        let (class, pending) = (self.class(), &mut self.pending);
        let mut memory = choose::Memory {
            arena: self.memory.arena,
            input: self.memory.input,
            seen: self.memory.seen,
        };
        let between_rows = || attend(platform, pending);
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

    fn draw<P: Platform>(&mut self, platform: &mut P) -> Result<(), Fault> {
        if self.scene == Scene::Boot {
            return show_boot(platform.display(), self.model);
        }
        if self.is_cluttered {
            clear(platform.display())?;
            self.is_cluttered = false;
        }
        self.choose(platform)?;
        self.since_ms = platform.now_ms();
        self.fill_input()?;
        let Memory { input, arena, .. } = &mut self.memory;
        let (mut drawn, mut crc) = (Ok(()), !0);
        self.model.run(input, arena, |row, values| {
            crc = crc32(crc, values.iter().map(|value| value.cast_unsigned()));
            if drawn.is_ok() {
                let display = platform.display();
                drawn = self.screen.show_row(display, self.palette, row, values);
            }
            attend(platform, &mut self.pending);
        })?;
        drawn?;
        let ms = platform.now_ms().wrapping_sub(self.since_ms);
        let hud = Hud {
            label: self.model.label(self.class).unwrap_or(self.model.name()),
            seed: self.here.seed,
            percent: (u32::from(self.step) * 100 / u32::from(INTERPOLATION_STEPS)) as u8,
            score: self.here.score,
            ms,
        };
        self.screen.show_hud(platform.display(), &hud)?;
        platform.log(Event::Frame {
            class: self.class(),
            seed: self.here.seed,
            step: self.step,
            score: self.here.score,
            ms,
            crc32: !crc,
        });
        Ok(())
    }
}
