"""Meta-gradients in JAX, written from the definitions of the problem and not from mixflow's sources: plain loops,
jax.grad, no custom rules. What compare_jax.py compares `mixflow grad` with."""
