//! The store as its users see it, crash by crash, and many replicas that converge.
