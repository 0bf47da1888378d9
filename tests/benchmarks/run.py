"""All ratios over lightly, as one table: `python tests/benchmarks/run.py`."""

import losses
import views

if __name__ == "__main__":
    views.main()
    losses.rows()
