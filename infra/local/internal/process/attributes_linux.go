package process

import "syscall"

// attributes gives a child its own process group, so that it can be killed with what it has started and
// a Ctrl-C at the terminal does not reach it, and ends it when this process ends, however that happens.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
