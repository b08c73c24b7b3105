//! Settings of the organization, its groups and its servers: layers with a version.
