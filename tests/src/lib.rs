//! End-to-end tests over real HTTP; the tree mirrors the URLs.
