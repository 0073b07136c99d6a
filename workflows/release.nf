// Results of any workflow -> a release of a catalogue.

include { folderFor ; sourceOf } from './inputs'
include { CREATE_RELEASE } from '../modules/catalog/create_release'

workflow RELEASE {
    take:
    options // map of checked parameters

    main:
    store = folderFor('store', options.store)
    policy = options.policy ? sourceOf('policy', options.policy)[1] : []
    CREATE_RELEASE(store, sourceOf('input', options.input)[1], policy, options.flags.create_release)
}
