//! `otelcol.connector.*`: what makes one signal out of another.
