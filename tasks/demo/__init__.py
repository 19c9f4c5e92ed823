"""A believable fleet for who looks at the product: a past that is written, a present that moves."""
