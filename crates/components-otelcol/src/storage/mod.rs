//! `otelcol.storage.*`: where queues and offsets are kept.
