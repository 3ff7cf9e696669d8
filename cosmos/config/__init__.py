"""Settings: parameters that decide a result, experiments that overlay them, the machine that runs them."""
