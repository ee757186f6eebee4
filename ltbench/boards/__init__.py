"""Records become tables: ranked, shifted, compared, beside what others published."""
