"""The pipeline: stages say which parts exist and how to make one; here they are skipped, spread over workers, written and sealed."""
