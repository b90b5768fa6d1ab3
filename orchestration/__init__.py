"""Who trains what, where and when: the only room that knows Ray, Optuna and MLflow."""
