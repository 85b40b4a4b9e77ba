//! Helpers shared by the checks: independent references, no project code.
