package ara

import (
	"context"
	"net"
	"net/http"
	"syscall"
)

// prompt is a connection that acknowledges at once what has come. ARA's server writes the head of an answer, and then its
// body as a small packet of its own, which the kernel keeps back until the head is acknowledged; and ours would do that 40 ms
// later, with each answer.
type prompt struct{ *net.TCPConn }

func (p prompt) Read(b []byte) (int, error) {
	// The kernel forgets it with each packet that is sent. Without it all is as right, and slower.
	if raw, err := p.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) })
	}
	return p.TCPConn.Read(b)
}

// transport is that of net/http, over prompt connections.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			return prompt{tcp}, err
		}
		return c, err
	}
	return t
}
