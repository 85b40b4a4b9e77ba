//! Arm's hard fault: says what happened, and stops.
#![expect(unsafe_code, reason = "the handler has to begin in assembly")]

use crate::device::stack_end;

// The stack cannot be used after an overflow: the handler starts it anew, over what the
// program will not need any more.
core::arch::global_asm!(
    ".section .HardFault.user, \"ax\"",
    ".global HardFault",
    ".type HardFault, %function",
    ".thumb_func",
    "HardFault:",
    "mov r0, sp",
    "ldr r1, =_stack_start",
    "mov sp, r1",
    "bl gan_hard_fault",
    ".size HardFault, . - HardFault",
);

#[unsafe(no_mangle)]
extern "C" fn gan_hard_fault(stack_pointer: usize) -> ! {
    if stack_pointer <= stack_end() {
        defmt::error!("the stack has overflowed");
    } else {
        defmt::error!("hard fault");
    }
    loop {
        core::hint::spin_loop();
    }
}
