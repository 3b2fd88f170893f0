//! The C boundary. (Skeleton.)
