// libp2p 3 is written for node 22; `Promise.withResolvers` is all that node 20 lacks of it.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
