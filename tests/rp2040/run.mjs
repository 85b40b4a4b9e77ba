// Runs a program of the RP2040 with an ST7789 display on SPI 0, wired as in docs/boards.md.
//
//     node run.mjs PROGRAM.elf
//
// Standard output is the program's log, as its debugger would get it (RTT). Commands come as
// lines on standard input, and each is answered by a line on standard error:
//
//     tap A|B|AB MS       presses buttons for so many emulated milliseconds; answered
//                         when they have been let go
//     hang                leaves the program alone for 10 emulated seconds, which its watchdog
//                         must let it be, then brings it into a loop that does not end
//     screenshot PATH     writes what the display shows as a PNG

import fs from 'node:fs';
import readline from 'node:readline';
import { PNG } from 'pngjs';
import { ConsoleLogger, LogLevel, Simulator } from 'rp2040js';

const FLASH = 0x10000000;
const FLASH_END = 0x11000000;
const VECTOR_TABLE = 0x10000100;
const CYCLE_NS = 1e9 / 125e6;
const BUTTONS = { A: 14, B: 15 };
const PIN_DC = 16;
const PIN_SELECT = 17;
const PIN_RESET = 20;
const PIN_LIGHT = 21;
const SIDE_PX = 240;
// An unused word at the low end of the stack, and a loop for it: `wfi`, and a jump back to it.
const STACK_END = 0x20000000;
const ENDLESS_LOOP = 0xe7fdbf30;
// Longer than the watchdog waits.
const IDLE_MS = 10_000;
// Between two presses.
const PAUSE_MS = 50;
// Instructions between looks at the commands and the log.
const SLICE = 20_000;

class Elf {
  constructor(bytes) {
    this.bytes = bytes;
  }

  /** Calls back with address and bytes of each loaded part. */
  eachSegment(callback) {
    const { bytes } = this;
    const [table, size, count] = [
      bytes.readUInt32LE(28), bytes.readUInt16LE(42), bytes.readUInt16LE(44)];
    for (let i = 0; i < count; i++) {
      const at = table + i * size;
      const [type, offset, , address, length] = [0, 4, 8, 12, 16].map((o) =>
        bytes.readUInt32LE(at + o));
      if (type === 1 && length > 0) callback(address, bytes.subarray(offset, offset + length));
    }
  }

  /** The address of a symbol. */
  symbol(wanted) {
    const { bytes } = this;
    const [table, size, count] = [
      bytes.readUInt32LE(32), bytes.readUInt16LE(46), bytes.readUInt16LE(48)];
    const section = (i, field) => bytes.readUInt32LE(table + i * size + field);
    for (let i = 0; i < count; i++) {
      if (section(i, 4) !== 2) continue;
      const [offset, length, strings] = [section(i, 16), section(i, 20), section(section(i, 24), 16)];
      for (let at = offset; at < offset + length; at += 16) {
        const name = strings + bytes.readUInt32LE(at);
        if (bytes.toString('latin1', name, bytes.indexOf(0, name)) === wanted) {
          return bytes.readUInt32LE(at + 4);
        }
      }
    }
    throw new Error(`the program has no symbol ${wanted}`);
  }
}

/** What an ST7789 does with the bytes that it gets. */
class St7789 {
  pixels = new Uint16Array(SIDE_PX * SIDE_PX);
  window = { left: 0, right: SIDE_PX - 1, top: 0, bottom: SIDE_PX - 1 };
  command = 0;
  args = [];
  isOn = false;
  isInverted = false;

  receive(isData, byte) {
    if (!isData) {
      this.command = byte;
      this.args = [];
      if (byte === 0x29) this.isOn = true;
      if (byte === 0x28) this.isOn = false;
      if (byte === 0x21) this.isInverted = true;
      if (byte === 0x20) this.isInverted = false;
      if (byte === 0x2c) [this.x, this.y] = [this.window.left, this.window.top];
      return;
    }
    this.args.push(byte);
    const [a, b, c, d] = this.args;
    const { window, args } = this;
    if (this.command === 0x2c && args.length === 2) this.write((a << 8) | b);
    if (this.command === 0x2a && args.length === 4) [window.left, window.right] = [(a << 8) | b, (c << 8) | d];
    if (this.command === 0x2b && args.length === 4) [window.top, window.bottom] = [(a << 8) | b, (c << 8) | d];
    // Neither turned nor mirrored, red first; 16 bits a pixel: what `write` takes for given.
    if (this.command === 0x36 && a !== 0) throw new Error(`memory access control ${a}`);
    if (this.command === 0x3a && (a & 7) !== 5) throw new Error(`pixel format ${a}`);
  }

  write(pixel) {
    this.args = [];
    const { window } = this;
    if (this.x < SIDE_PX && this.y < SIDE_PX) this.pixels[this.y * SIDE_PX + this.x] = pixel;
    if (++this.x > window.right) {
      this.x = window.left;
      if (++this.y > window.bottom) this.y = window.top;
    }
  }

  png() {
    const png = new PNG({ width: SIDE_PX, height: SIDE_PX });
    this.pixels.forEach((pixel, i) => {
      const level = (value, max) => Math.round((value * 255) / max);
      const [red, green, blue] = [level(pixel >> 11, 31), level((pixel >> 5) & 63, 63), level(pixel & 31, 31)];
      png.data.set([red, green, blue, 255], 4 * i);
    });
    return PNG.sync.write(png);
  }
}

/** The buffer through which the program's log leaves. */
class Rtt {
  constructor(mcu, controlBlock) {
    // The first channel up: name, buffer, size, write, read, flags.
    this.mcu = mcu;
    this.channel = controlBlock + 24;
  }

  drain() {
    const { mcu, channel } = this;
    const [buffer, size, end] = [4, 8, 12].map((o) => mcu.readUint32(channel + o));
    let at = mcu.readUint32(channel + 16);
    const bytes = [];
    while (buffer && at !== end) {
      bytes.push(mcu.readUint8(buffer + at));
      at = (at + 1) % size;
    }
    if (bytes.length === 0) return;
    mcu.writeUint32(channel + 16, at);
    fs.writeSync(1, Buffer.from(bytes));
  }
}

const elf = new Elf(fs.readFileSync(process.argv[2]));
const simulator = new Simulator();
const mcu = simulator.rp2040;
mcu.logger = new ConsoleLogger(LogLevel.Error, false);
elf.eachSegment((address, bytes) => {
  if (address >= FLASH && address < FLASH_END) mcu.flash.set(bytes, address - FLASH);
});
const display = new St7789();
const rtt = new Rtt(mcu, elf.symbol('_SEGGER_RTT'));
mcu.spi[0].onTransmit = (byte) => {
  const isSelected = !mcu.gpio[PIN_SELECT].outputValue && mcu.gpio[PIN_RESET].outputValue;
  if (isSelected) display.receive(mcu.gpio[PIN_DC].outputValue, byte & 0xff);
  mcu.spi[0].completeTransmit(0);
};
const press = (buttons, isDown) => {
  for (const button of buttons) mcu.gpio[BUTTONS[button]].setInputValue(!isDown);
};
press('AB', false);

// Straight from the vector table: there is no boot ROM.
const start = () => {
  const { core } = mcu;
  // No interrupt is being served: `reset` leaves that as it is.
  Object.assign(core, { VTOR: VECTOR_TABLE, IPSR: 0, currentMode: 0, PM: false, waiting: false });
  core.reset();
};
start();
const watchdog = mcu.peripherals[0x40058];
watchdog.onWatchdogTrigger = () => {
  // A reset stops it; its control register is the first.
  watchdog.writeUint32(0, 0);
  start();
};

// Called after so many emulated milliseconds.
const after = (ms, callback) => simulator.clock.createAlarm(callback).schedule(ms * 1e6);

const commands = {
  tap(answer, buttons, ms) {
    press(buttons, true);
    after(Number(ms), () => {
      press(buttons, false);
      after(PAUSE_MS, answer);
    });
  },
  hang(answer) {
    after(IDLE_MS, () => {
      mcu.writeUint32(STACK_END, ENDLESS_LOOP);
      mcu.core.PC = STACK_END;
      mcu.core.waiting = false;
      answer();
    });
  },
  screenshot(answer, path) {
    const isLit = display.isOn && display.isInverted && mcu.gpio[PIN_LIGHT].outputValue;
    if (!isLit) throw new Error('the display is dark');
    fs.writeFileSync(path, display.png());
    answer();
  },
};
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [name, ...args] = line.split('\t');
  try {
    commands[name](() => process.stderr.write('ok\n'), ...args);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
  }
});
lines.on('close', () => process.exit(0));

const run = () => {
  const { core } = mcu;
  for (let i = 0; i < SLICE; i++) {
    if (core.waiting) {
      const pause = simulator.clock.nanosToNextAlarm;
      if (!pause) throw new Error('the program waits for ever');
      simulator.clock.tick(pause);
      // The emulator lets peripherals wake the core, but not its own timer.
      if (core.interruptsUpdated && core.checkForInterrupts()) core.waiting = false;
    } else {
      simulator.clock.tick(core.executeInstruction() * CYCLE_NS);
    }
  }
  rtt.drain();
  setImmediate(run);
};
run();
