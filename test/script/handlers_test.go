package script

import (
	"os/exec"
	"testing"

	"github.com/carillon-cron/carillon/handler/handlertest"
)

// TestShellHandler: the handler in shell keeps to the protocol, behind `carillon handlers
// connect`.
func TestShellHandler(t *testing.T) {
	t.Parallel()
	handlertest.Conforms(t, func(t *testing.T, socket string) {
		c := exec.CommandContext(t.Context(), "carillon", "handlers", "connect", socket, "--", "sh", "../../examples/shell/conform.sh")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed, or has seen the end of the connection
		})
	})
}
