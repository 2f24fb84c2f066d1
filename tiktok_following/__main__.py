"""Run the command line as ``python -m tiktok_following``."""

from tiktok_following._cli import main

if __name__ == "__main__":
    main()
