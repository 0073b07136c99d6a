// Never cached: whether a catalogue holds a release is for the catalogue to say. Where it does, nothing is done twice.
process CREATE_RELEASE {
    label 'process_single'
    cache false

    input:
    path store, stageAs: 'store/*'
    path results, stageAs: 'results/*'
    path policy, stageAs: 'policy/*'
    val flags

    output:
    path 'published/release.json', emit: release
    path '*.provenance.json', emit: provenance

    script:
    """
    create_release.py ${flags} --store ${store} --results ${results} ${policy ? "--policy ${policy}" : ''} --release published/release.json
    """

    stub:
    """
    stub.sh published/release.json create_release.provenance.json
    """
}
