//! enrollments.
