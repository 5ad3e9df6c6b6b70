"""`python -m agentdyno` is `dyno`."""

from agentdyno.cli.main import run

if __name__ == "__main__":
    run()
