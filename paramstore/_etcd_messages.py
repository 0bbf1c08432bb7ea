"""The messages of etcd's version 3 interface that we speak, as protobuf classes made from a table.

Names and numbers are etcd's own (etcdserverpb/rpc.proto, mvccpb/kv.proto, authpb/auth.proto, v3lockpb/v3lock.proto). Generated
modules would be tied to one major version of protobuf; its descriptors are not.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "paramstore.etcd"
# "number name type", with * after a type that repeats, and | after one of a choice. A capital letter begins a message.
_TABLE = {
    "Header": "1 cluster_id uint64, 2 member_id uint64, 3 revision int64, 4 raft_term uint64",
    "KeyValue": "1 key bytes, 2 create_revision int64, 3 mod_revision int64, 4 version int64, 5 value bytes, 6 lease int64",
    "Event": "1 type int32, 2 kv KeyValue",
    "RangeRequest": "1 key bytes, 2 range_end bytes, 3 limit int64, 4 revision int64, 5 sort_order int32, 6 sort_target int32, "
    "7 serializable bool, 8 keys_only bool, 9 count_only bool, 10 min_mod_revision int64",
    "RangeResponse": "1 header Header, 2 kvs KeyValue*, 3 more bool, 4 count int64",
    "PutRequest": "1 key bytes, 2 value bytes, 3 lease int64",
    "PutResponse": "1 header Header",
    "DeleteRangeRequest": "1 key bytes, 2 range_end bytes",
    "DeleteRangeResponse": "1 header Header, 2 deleted int64",
    "RequestOp": "1 request_range RangeRequest|, 2 request_put PutRequest|, 3 request_delete_range DeleteRangeRequest|",
    "ResponseOp": "1 response_range RangeResponse|, 2 response_put PutResponse|, 3 response_delete_range DeleteRangeResponse|",
    "Compare": "1 result int32, 2 target int32, 3 key bytes, 4 version int64|, 5 create_revision int64|, 6 mod_revision int64|, "
    "7 value bytes|, 8 lease int64|, 64 range_end bytes",
    "TxnRequest": "1 compare Compare*, 2 success RequestOp*, 3 failure RequestOp*",
    "TxnResponse": "1 header Header, 2 succeeded bool, 3 responses ResponseOp*",
    "CompactionRequest": "1 revision int64, 2 physical bool",
    "CompactionResponse": "1 header Header",
    "WatchCreateRequest": "1 key bytes, 2 range_end bytes, 3 start_revision int64, 4 progress_notify bool, 8 fragment bool",
    "WatchProgressRequest": "",
    "WatchRequest": "1 create_request WatchCreateRequest|, 3 progress_request WatchProgressRequest|",
    "WatchResponse": "1 header Header, 2 watch_id int64, 3 created bool, 4 canceled bool, 5 compact_revision int64, "
    "6 cancel_reason string, 7 fragment bool, 11 events Event*",
    "LeaseGrantRequest": "1 TTL int64, 2 ID int64",
    "LeaseGrantResponse": "1 header Header, 2 ID int64, 3 TTL int64, 4 error string",
    "LeaseRevokeRequest": "1 ID int64",
    "LeaseRevokeResponse": "1 header Header",
    "LeaseKeepAliveRequest": "1 ID int64",
    "LeaseKeepAliveResponse": "1 header Header, 2 ID int64, 3 TTL int64",
    "LockRequest": "1 name bytes, 2 lease int64",
    "LockResponse": "1 header Header, 2 key bytes",
    "StatusRequest": "",
    "StatusResponse": "1 header Header, 2 version string, 3 dbSize int64, 4 leader uint64, 8 errors string*",
    "AuthenticateRequest": "1 name string, 2 password string",
    "AuthenticateResponse": "1 header Header, 2 token string",
    "Permission": "1 permType int32, 2 key bytes, 3 range_end bytes",
    "AuthUserAddRequest": "1 name string, 2 password string",
    "AuthUserGetRequest": "1 name string",
    "AuthUserGetResponse": "1 header Header, 2 roles string*",
    "AuthUserGrantRoleRequest": "1 user string, 2 role string",
    "AuthRoleListRequest": "",
    "AuthRoleListResponse": "1 header Header, 2 roles string*",
    "AuthRoleAddRequest": "1 name string",
    "AuthRoleGetRequest": "1 role string",
    "AuthRoleGetResponse": "1 header Header, 2 perm Permission*",
    "AuthRoleGrantPermissionRequest": "1 name string, 2 perm Permission",
    "AuthRoleRevokePermissionRequest": "1 role string, 2 key bytes, 3 range_end bytes",
    "AuthEnableRequest": "",
    "AuthResponse": "1 header Header",
}


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(name="paramstore/etcd.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _TABLE.items():
        message = file.message_type.add(name=name)
        for words in filter(None, fields.split(", ")):
            number, field_name, kind = words.split()
            plain = kind.rstrip("*|")
            label = (
                FieldDescriptorProto.LABEL_REPEATED
                if kind.endswith("*")
                else FieldDescriptorProto.LABEL_OPTIONAL
            )
            field = message.field.add(name=field_name, number=int(number), label=label)
            if plain[0].isupper():
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{plain}"
            else:
                field.type = getattr(FieldDescriptorProto, f"TYPE_{plain.upper()}")
            if kind.endswith("|"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="choice")
                field.oneof_index = 0
    return file


def _classes() -> dict[str, Any]:
    pool = DescriptorPool()
    pool.Add(_described())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _TABLE}


#: Message classes by name.
MESSAGES = _classes()
