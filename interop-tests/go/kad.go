package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	datasync "github.com/ipfs/go-datastore/sync"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	record "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

// kad is the library's DHT and its messenger. The DHT looks into its own store first; what a certain
// peer has, the messenger asks it.
type kad struct {
	dht       *dht.IpfsDHT
	messenger *pb.ProtocolMessenger
	self      peer.ID
	own       datastore.Batching
}

// anything accepts what our nodes sign: to judge it is for them.
type anything struct{}

func (anything) Validate(string, []byte) error        { return nil }
func (anything) Select(string, [][]byte) (int, error) { return 0, nil }

func newKad(ctx context.Context, h host.Host, id string) (*kad, error) {
	if id == "" {
		return nil, nil
	}
	own := datasync.MutexWrap(datastore.NewMapDatastore())
	table, err := dht.New(ctx, h,
		dht.Mode(dht.ModeServer),
		// The prefix of the public network would demand its rules.
		dht.ProtocolPrefix("/peerage"),
		dht.V1ProtocolOverride(protocol.ID(id)),
		dht.NamespacedValidator("user", anything{}),
		dht.Datastore(own),
	)
	if err != nil {
		return nil, err
	}
	messenger, err := pb.NewProtocolMessenger(sender{h, protocol.ID(id)})
	return &kad{table, messenger, h.ID(), own}, err
}

// closest are the peers to ask, none while nobody is known.
func (k *kad) closest(ctx context.Context, key []byte) ([]peer.ID, error) {
	peers, err := k.dht.GetClosestPeers(ctx, string(key))
	if errors.Is(err, kbucket.ErrLookupFailure) {
		return nil, nil
	}
	return peers, err
}

func (k *kad) put(ctx context.Context, key, value []byte) error {
	err := k.dht.PutValue(ctx, string(key), value)
	if err != nil && !errors.Is(err, kbucket.ErrLookupFailure) {
		return err
	}
	emit("put", nil)
	return nil
}

func (k *kad) get(ctx context.Context, key []byte) error {
	values := []fields{}
	if value, err := k.ownValue(ctx, key); err != nil {
		return err
	} else if value != nil {
		values = append(values, fields{"from": k.self.String(), "value": hex.EncodeToString(value)})
	}
	peers, err := k.closest(ctx, key)
	if err != nil {
		return err
	}
	for _, id := range peers {
		got, _, err := k.messenger.GetValue(ctx, id, string(key))
		if err != nil {
			return err
		}
		if got != nil {
			value := hex.EncodeToString(got.Value)
			values = append(values, fields{"from": id.String(), "value": value})
		}
	}
	emit("got", fields{"values": values})
	return nil
}

// ownValue is what others, or put, have stored here. How the library makes a datastore key is its own
// affair, so all are looked at.
func (k *kad) ownValue(ctx context.Context, key []byte) ([]byte, error) {
	all, err := k.own.Query(ctx, query.Query{})
	if err != nil {
		return nil, err
	}
	entries, err := all.Rest()
	for _, entry := range entries {
		var one record.Record
		if proto.Unmarshal(entry.Value, &one) == nil && bytes.Equal(one.Key, key) {
			return one.Value, nil
		}
	}
	return nil, err
}

func (k *kad) provide(ctx context.Context, key []byte) error {
	hash, err := multihash.Cast(key)
	if err != nil {
		return err
	}
	err = k.dht.Provide(ctx, cid.NewCidV1(cid.Raw, hash), true)
	if err != nil && !errors.Is(err, kbucket.ErrLookupFailure) {
		return err
	}
	emit("provided", nil)
	return nil
}

func (k *kad) findProviders(ctx context.Context, key []byte) error {
	providers := []fields{}
	own, err := k.dht.ProviderStore().GetProviders(ctx, key)
	if err != nil {
		return err
	}
	for _, provider := range own {
		providers = append(providers, fields{"from": k.self.String(), "peer_id": provider.ID.String()})
	}
	peers, err := k.closest(ctx, key)
	if err != nil {
		return err
	}
	for _, id := range peers {
		told, _, err := k.messenger.GetProviders(ctx, id, key)
		if err != nil {
			return err
		}
		for _, provider := range told {
			providers = append(providers, fields{"from": id.String(), "peer_id": provider.ID.String()})
		}
	}
	emit("providers", fields{"providers": providers})
	return nil
}

// sender writes each message on a stream of its own; the library keeps its sender to itself.
type sender struct {
	host  host.Host
	proto protocol.ID
}

func (s sender) SendRequest(ctx context.Context, to peer.ID, message *pb.Message) (*pb.Message, error) {
	stream, err := s.host.NewStream(ctx, to, s.proto)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if deadline, ok := ctx.Deadline(); ok {
		// In memory only, and then the stream ends.
		_ = stream.SetDeadline(deadline)
	}
	if _, err := protodelim.MarshalTo(stream, message); err != nil {
		return nil, err
	}
	answer := new(pb.Message)
	return answer, protodelim.UnmarshalFrom(bufio.NewReader(stream), answer)
}

func (s sender) SendMessage(ctx context.Context, to peer.ID, message *pb.Message) error {
	stream, err := s.host.NewStream(ctx, to, s.proto)
	if err != nil {
		return err
	}
	defer stream.Close()
	_, err = protodelim.MarshalTo(stream, message)
	return err
}
