//! Every check of the workspace, in one binary.
