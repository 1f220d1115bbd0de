"""The hypervisor layer, usable alone: start a micro-VM for one task, run programs in it, throw it away."""
