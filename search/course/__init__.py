"""The two course reports that the project grew from: their figures and claims beside replicates."""
