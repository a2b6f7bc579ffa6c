"""What this machine has, which backend each model would use, and why not a faster one."""
