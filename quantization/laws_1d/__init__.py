"""Laws with a density on the line: cells by quadrature over (x − c)^r f, searches for their best codebooks, and Newton steps."""
