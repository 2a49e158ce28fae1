"""Where Ibis expressions of the stages run beside DuckDB: Spark, made to answer alike."""
