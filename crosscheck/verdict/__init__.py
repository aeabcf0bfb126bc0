"""The mathematics of the verdict: precisions, budgets, kinks and rounding."""
