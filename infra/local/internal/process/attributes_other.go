//go:build !linux

package process

import "syscall"

// attributes gives a child its own process group. There is no way here to end it when this process is killed;
// aws-lambda-go exits by itself as soon as its Runtime API is gone.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
