"""Who does the work: any command, recorded outcomes, and later ACP and a built-in one."""
