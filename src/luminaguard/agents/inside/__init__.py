"""Programs of ours that run behind the walls beside an agent: they start it, drain it, and tell what it does.

They see nothing of our package but this folder, so they import the standard library and each other alone (`acp_client`
the package `acp` too). How they are started: `python -I -S FOLDER DRIVER [PACKAGE...]`, what to do as JSON in
$LUMINAGUARD_AGENT, the prompt on standard input.
"""
