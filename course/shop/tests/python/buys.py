"""A buyer who has nothing but shop.proto.

buys.py SHOP_PROTO USER PRODUCT PAYMENT ORDER: prints as JSON what the services answered.
"""

import importlib
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import uuid

import grpc

TIMEOUT_S = 60


def generated(proto):
    """The modules that protoc makes of the file."""
    plugin = shutil.which("grpc_python_plugin")
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [
                "protoc",
                f"-I{proto.parent}",
                f"--plugin=protoc-gen-grpc_python={plugin}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                proto.name,
            ],
            check=True,
        )
        sys.path.insert(0, out)
        return importlib.import_module(f"{proto.stem}_pb2"), importlib.import_module(f"{proto.stem}_pb2_grpc")


def main(proto, *addresses):
    pb, services = generated(pathlib.Path(proto))
    channels = [grpc.insecure_channel(address) for address in addresses]
    users = services.UsersStub(channels[0])
    products = services.ProductsStub(channels[1])
    payments = services.PaymentsStub(channels[2])
    orders = services.OrdersStub(channels[3])
    answers = {}

    user, order = str(uuid.uuid4()), str(uuid.uuid4())
    price = pb.Money(currency="EUR", minor=250)
    answers["registered"] = users.Register(pb.RegisterRequest(user_id=user, name="Ada"), timeout=TIMEOUT_S).name
    payments.TopUp(pb.TopUpRequest(top_up_id=str(uuid.uuid4()), user_id=user, amount=price), timeout=TIMEOUT_S)

    def catalogue():
        for number in range(1_000):
            yield pb.Product(sku=f"p{number}", name=f"Product {number}", price=price, stock=5)
        yield pb.Product(sku="not a sku", name="refused", price=price, stock=5)

    summary = products.Import(catalogue(), timeout=TIMEOUT_S)
    answers["imported"] = [summary.accepted, summary.refused_count]
    answers["listed"] = sum(1 for _ in products.ListProducts(pb.ListProductsRequest(), timeout=TIMEOUT_S))

    def request(order_id, sku):
        items = [pb.Item(sku=sku, quantity=1, unit_price=price)]
        return pb.PlaceOrderRequest(order_id=order_id, user_id=user, items=items)

    def state(answer):
        return pb.State.Name(answer.state)

    answers["placed"] = state(orders.PlaceOrder(request(order, "p7"), timeout=TIMEOUT_S))
    answers["again"] = state(orders.PlaceOrder(request(order, "p7"), timeout=TIMEOUT_S))
    try:
        orders.PlaceOrder(request(order, "p8"), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        answers["other"] = f"{error.code().name} {dict(error.trailing_metadata())['x-code']}"
    poor = orders.PlaceOrder(request(str(uuid.uuid4()), "p7"), timeout=TIMEOUT_S)
    answers["poor"] = f"{state(poor)} {poor.reason}"

    # Both ways: the order is added while the stream runs, and credit granted for what it has.
    requests = queue.Queue()
    updates = orders.OrderUpdates(iter(requests.get, None), timeout=TIMEOUT_S)
    requests.put(pb.UpdatesRequest(watch=pb.WatchRequest(order_id=order)))
    requests.put(pb.UpdatesRequest(credit=7))
    for to in (pb.SHIPPED, pb.DELIVERED):
        orders.Advance(pb.AdvanceRequest(order_id=order, to=to), timeout=TIMEOUT_S)
    answers["updates"] = [state(next(updates)) for _ in range(7)]
    requests.put(None)
    watched = orders.WatchOrder(pb.WatchRequest(order_id=order), timeout=TIMEOUT_S)
    answers["watched"] = [state(event) for event in watched]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
