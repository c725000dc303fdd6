// A go-libp2p node that is steered by JSON lines, see ../README.md for the protocol.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	commandTimeout = 20 * time.Second
	// Longest command: a value of 15 KiB in hexadecimal, and what is around it.
	maxLine = 64 << 10
)

type fields map[string]any

// texts is a flag that may be given any number of times.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, ",") }
func (t *texts) Set(v string) error { *t = append(*t, v); return nil }

type options struct {
	transport, security, kad string
	topics                   texts
	unsigned                 bool
}

var output sync.Mutex

// emit prints one line at once, or lines of different goroutines would mingle.
func emit(name string, more fields) {
	line := fields{"event": name}
	for key, value := range more {
		line[key] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// agent names the library and the version that is linked in.
func agent() string {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/libp2p/go-libp2p" {
			return "go-libp2p/" + strings.TrimPrefix(module.Version, "v")
		}
	}
	return "go-libp2p/unknown"
}

func transport(o options) ([]libp2p.Option, error) {
	if o.transport == "quic" {
		return []libp2p.Option{
			libp2p.Transport(quic.NewTransport),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"),
		}, nil
	}
	security := map[string]libp2p.Option{
		"noise": libp2p.Security(noise.ID, noise.New),
		"tls":   libp2p.Security(libp2ptls.ID, libp2ptls.New),
	}[o.security]
	if o.transport != "tcp" || security == nil {
		return nil, fmt.Errorf("unknown transport %s with %s", o.transport, o.security)
	}
	return []libp2p.Option{
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		security,
	}, nil
}

func listen(o options) (host.Host, error) {
	chosen, err := transport(o)
	if err != nil {
		return nil, err
	}
	return libp2p.New(append(chosen, libp2p.UserAgent(agent()), libp2p.DisableRelay())...)
}

func tellConnections(h host.Host) {
	directions := map[network.Direction]string{network.DirInbound: "in", network.DirOutbound: "out"}
	h.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			emit("connected", fields{
				"peer_id": c.RemotePeer().String(), "direction": directions[c.Stat().Direction],
			})
		},
		DisconnectedF: func(_ network.Network, c network.Conn) {
			emit("disconnected", fields{"peer_id": c.RemotePeer().String()})
		},
	})
}

func tellIdentified(h host.Host) error {
	identified, err := h.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	go func() {
		for one := range identified.Out() {
			peer := one.(event.EvtPeerIdentificationCompleted)
			emit("identified", fields{
				"peer_id": peer.Peer.String(), "agent": peer.AgentVersion, "protocols": peer.Protocols,
			})
		}
	}()
	return nil
}

func start(ctx context.Context, o options) (*peerNode, error) {
	h, err := listen(o)
	if err != nil {
		return nil, err
	}
	tellConnections(h)
	if err := tellIdentified(h); err != nil {
		return nil, err
	}
	node := &peerNode{host: h}
	if node.gossip, err = newGossip(ctx, h, o.unsigned); err != nil {
		return nil, err
	}
	if node.kad, err = newKad(ctx, h, o.kad); err != nil {
		return nil, err
	}
	for _, topic := range o.topics {
		if err := node.gossip.join(topic); err != nil {
			return nil, err
		}
	}
	return node, nil
}

// obey runs one command; false after stop.
func obey(ctx context.Context, node *peerNode, line []byte) bool {
	var asked request
	err := json.Unmarshal(line, &asked)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		err = node.run(ctx, asked)
	}
	if err != nil {
		emit("error", fields{"cmd": asked.Cmd, "message": err.Error()})
	}
	return asked.Cmd != "stop"
}

func main() {
	var o options
	flag.StringVar(&o.transport, "transport", "tcp", "tcp or quic")
	flag.StringVar(&o.security, "security", "noise", "noise or tls, for tcp")
	flag.StringVar(&o.kad, "kad", "", "protocol id of Kademlia")
	flag.Var(&o.topics, "topic", "topic to subscribe to")
	flag.BoolVar(&o.unsigned, "unsigned", false, "publish without signatures")
	flag.Parse()

	ctx := context.Background()
	node, err := start(ctx, o)
	if err != nil {
		emit("error", fields{"cmd": "start", "message": err.Error()})
		os.Exit(2)
	}
	node.ready()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		if len(lines.Bytes()) > 0 && !obey(ctx, node, lines.Bytes()) {
			break
		}
	}
}
