//! logic_api
