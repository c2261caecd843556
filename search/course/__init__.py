"""The two course reports the project grew from: their configurations, figures and claims beside ours."""
