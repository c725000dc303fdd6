package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
)

// request is any command; which fields it has, the command says.
type request struct {
	Cmd, Addr, Peer, Topic, Data, Key, Value string
}

type peerNode struct {
	host   host.Host
	gossip *gossip
	kad    *kad
}

func (n *peerNode) ready() {
	addresses := []string{}
	for _, address := range n.host.Addrs() {
		addresses = append(addresses, fmt.Sprintf("%s/p2p/%s", address, n.host.ID()))
	}
	emit("ready", fields{"peer_id": n.host.ID().String(), "listen": addresses})
}

func (n *peerNode) run(ctx context.Context, asked request) error {
	switch asked.Cmd {
	case "dial":
		return n.dial(ctx, asked.Addr)
	case "ping":
		return n.ping(ctx, asked)
	case "protocols":
		return n.protocols(ctx, asked.Peer)
	case "subscribe":
		return n.gossip.subscribe(asked.Topic)
	case "subscribers":
		return n.gossip.subscribers(asked.Topic)
	case "publish":
		return n.gossip.publish(ctx, asked.Topic, asked.Data)
	case "kad_put", "kad_get", "provide", "find_providers":
		return n.runKad(ctx, asked)
	case "stop":
		err := n.host.Close()
		emit("stopped", nil)
		return err
	default:
		return fmt.Errorf("unknown command %q", asked.Cmd)
	}
}

func (n *peerNode) runKad(ctx context.Context, asked request) error {
	if n.kad == nil {
		return errors.New("started without --kad")
	}
	key, err := hex.DecodeString(asked.Key)
	if err != nil {
		return err
	}
	value, err := hex.DecodeString(asked.Value)
	if err != nil {
		return err
	}
	switch asked.Cmd {
	case "kad_put":
		return n.kad.put(ctx, key, value)
	case "kad_get":
		return n.kad.get(ctx, key)
	case "provide":
		return n.kad.provide(ctx, key)
	default:
		return n.kad.findProviders(ctx, key)
	}
}

func (n *peerNode) connect(ctx context.Context, address string) (peer.ID, error) {
	parsed, err := ma.NewMultiaddr(address)
	if err != nil {
		return "", err
	}
	info, err := peer.AddrInfoFromP2pAddr(parsed)
	if err != nil {
		return "", err
	}
	return info.ID, n.host.Connect(ctx, *info)
}

func (n *peerNode) dial(ctx context.Context, address string) error {
	id, err := n.connect(ctx, address)
	if err == nil {
		emit("dialed", fields{"peer_id": id.String()})
	}
	return err
}

func (n *peerNode) ping(ctx context.Context, asked request) error {
	id, err := peer.Decode(asked.Peer)
	if asked.Addr != "" {
		id, err = n.connect(ctx, asked.Addr)
	}
	if err != nil {
		return err
	}
	// Ends the stream.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pong := <-ping.Ping(ctx, n.host, id)
	if pong.Error == nil {
		rtt := float64(pong.RTT) / float64(time.Millisecond)
		emit("pong", fields{"rtt_ms": rtt})
	}
	return pong.Error
}

// protocols waits for identify, whose outcome the peerstore has from then on.
func (n *peerNode) protocols(ctx context.Context, id string) error {
	whom, err := peer.Decode(id)
	if err != nil {
		return err
	}
	done, err := n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	defer done.Close()
	for {
		agent, err := n.host.Peerstore().Get(whom, "AgentVersion")
		if err == nil {
			protocols, err := n.host.Peerstore().GetProtocols(whom)
			slices.Sort(protocols)
			emit("protocols", fields{"peer_id": id, "agent": agent, "protocols": protocols})
			return err
		}
		select {
		case <-done.Out():
		case <-ctx.Done():
			return fmt.Errorf("no identify from %s", id)
		}
	}
}
