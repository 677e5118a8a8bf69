//! MongoDB as the store, through the official driver.
